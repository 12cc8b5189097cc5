/* The whole: options, start, end. */
#ifndef KVD_SERVER_H
#define KVD_SERVER_H

#include <signal.h>
#include <stdint.h>

extern volatile sig_atomic_t server_stopping;
extern int64_t server_started_ms;
extern int server_port;

#endif
