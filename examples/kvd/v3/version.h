/* Which version of the server this is; what INFO and HELLO answer. */
#ifndef KVD_VERSION_H
#define KVD_VERSION_H

#define KVD_VERSION "3.0"

#endif
