#define _GNU_SOURCE
#include "withhold.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <termios.h>

#include "journal.h"
#include "machine.h"
#include "outcome.h"
#include "platform.h"

#define COPIED_MAX ((uint64_t)64 << 20) /* of a file that is opened for reading and writing */
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* of siginfo: a filter's trap */
#endif
#define MEMORY_DEVICES 1 /* major number of /dev/null and its kin */

/* Where kitsune__syscall returns to from the kernel. */
extern const char kitsune__syscall_made[];

/* ---- what becomes of which call -------------------------------------------------------------- */

enum way {
    READ,        /* (descriptor, …): of what is shared nothing is there to be read */
    WRITE,       /* (descriptor, buffer, size): as if it were written */
    WRITE_PARTS, /* (descriptor, parts, count) */
    SEND_MESSAGE,
    SEND_MESSAGES,
    SEND_FILE,   /* (to, from, offset, size) */
    SPLICE,      /* (from, offset, to, offset, size): and copy_file_range */
    SPLICE_OUT,  /* (to, parts, count) */
    TEE,         /* (from, to, size) */
    CHANGE,      /* (descriptor, …): as if it were done, if it is shared */
    SOCKET_NAME, /* (descriptor, name, length): of the socket for which another stands in */
    SOCKET_OPTION,
    CONTROL, /* fcntl, ioctl: the same, but for what only asks */
    LOCK,    /* as if it were had: it is the program's, or nobody sees it */
    CHANGE_PATH,
    OPEN,
    OPEN_AT,
    CREATE,
    CONNECT,
    BIND,
    MAP,
    KILL,
    KILL_THREAD,
    KILL_THREAD_OF,
    SIGNAL_DESCRIPTOR,
    OWN_PROCESS,
    OWN_THREAD,
    OWN_PARENT,
    OF_PROCESS,      /* (process, …) */
    OF_ONE_PROCESS,  /* (0, process, …) */
    TIMER,           /* of the program's, which the copy has not: as if it were done */
    MESSAGE,         /* to other processes: as if it were sent */
    RECEIVE_MESSAGE, /* from other processes: none is there */
    END,
    EXECUTE
};

static const struct {
    int number;
    enum way way;
} withheld[] = {
    {SYS_read, READ},
    {SYS_readv, READ},
    {SYS_recvfrom, READ},
    {SYS_recvmsg, READ},
    {SYS_recvmmsg, READ},
    {SYS_accept, READ},
    {SYS_accept4, READ},
    {SYS_write, WRITE},
    {SYS_pwrite64, WRITE},
    {SYS_sendto, WRITE},
    {SYS_writev, WRITE_PARTS},
    {SYS_pwritev, WRITE_PARTS},
    {SYS_pwritev2, WRITE_PARTS},
    {SYS_sendmsg, SEND_MESSAGE},
    {SYS_sendmmsg, SEND_MESSAGES},
    {SYS_sendfile, SEND_FILE},
    {SYS_splice, SPLICE},
    {SYS_copy_file_range, SPLICE},
    {SYS_vmsplice, SPLICE_OUT},
    {SYS_tee, TEE},
    {SYS_getsockname, SOCKET_NAME},
    {SYS_getpeername, SOCKET_NAME},
    {SYS_getsockopt, SOCKET_OPTION},
    {SYS_setsockopt, CHANGE},
    {SYS_shutdown, CHANGE},
    {SYS_listen, CHANGE},
    {SYS_ftruncate, CHANGE},
    {SYS_fallocate, CHANGE},
    {SYS_fchmod, CHANGE},
    {SYS_fchown, CHANGE},
    {SYS_fsetxattr, CHANGE},
    {SYS_fremovexattr, CHANGE},
    {SYS_timerfd_settime, CHANGE},
    {SYS_inotify_add_watch, CHANGE},
    {SYS_inotify_rm_watch, CHANGE},
    {SYS_epoll_ctl, CHANGE},
    {SYS_fcntl, CONTROL},
    {SYS_ioctl, CONTROL},
    {SYS_flock, LOCK},
#ifdef SYS_open
    {SYS_open, OPEN},
    {SYS_creat, CREATE},
    {SYS_unlink, CHANGE_PATH},
    {SYS_rename, CHANGE_PATH},
    {SYS_mkdir, CHANGE_PATH},
    {SYS_rmdir, CHANGE_PATH},
    {SYS_link, CHANGE_PATH},
    {SYS_symlink, CHANGE_PATH},
    {SYS_mknod, CHANGE_PATH},
    {SYS_chmod, CHANGE_PATH},
    {SYS_chown, CHANGE_PATH},
    {SYS_lchown, CHANGE_PATH},
    {SYS_utime, CHANGE_PATH},
    {SYS_utimes, CHANGE_PATH},
    {SYS_futimesat, CHANGE_PATH},
#endif
    {SYS_openat, OPEN_AT},
    {SYS_unlinkat, CHANGE_PATH},
    {SYS_renameat, CHANGE_PATH},
    {SYS_renameat2, CHANGE_PATH},
    {SYS_mkdirat, CHANGE_PATH},
    {SYS_linkat, CHANGE_PATH},
    {SYS_symlinkat, CHANGE_PATH},
    {SYS_mknodat, CHANGE_PATH},
    {SYS_fchmodat, CHANGE_PATH},
    {SYS_fchownat, CHANGE_PATH},
    {SYS_truncate, CHANGE_PATH},
    {SYS_utimensat, CHANGE_PATH},
    {SYS_setxattr, CHANGE_PATH},
    {SYS_lsetxattr, CHANGE_PATH},
    {SYS_removexattr, CHANGE_PATH},
    {SYS_lremovexattr, CHANGE_PATH},
    {SYS_connect, CONNECT},
    {SYS_bind, BIND},
    {SYS_mmap, MAP},
    {SYS_kill, KILL},
    {SYS_rt_sigqueueinfo, KILL},
    {SYS_tkill, KILL_THREAD},
    {SYS_tgkill, KILL_THREAD_OF},
    {SYS_rt_tgsigqueueinfo, KILL_THREAD_OF},
    {SYS_pidfd_send_signal, SIGNAL_DESCRIPTOR},
    {SYS_getpid, OWN_PROCESS},
    {SYS_gettid, OWN_THREAD},
    {SYS_getppid, OWN_PARENT},
    {SYS_prlimit64, OF_PROCESS},
    {SYS_sched_setaffinity, OF_PROCESS},
    {SYS_sched_setscheduler, OF_PROCESS},
    {SYS_sched_setparam, OF_PROCESS},
    {SYS_sched_setattr, OF_PROCESS},
    {SYS_setpgid, OF_PROCESS},
    {SYS_setpriority, OF_ONE_PROCESS},
    {SYS_ioprio_set, OF_ONE_PROCESS},
    {SYS_timer_settime, TIMER},
    {SYS_timer_gettime, TIMER},
    {SYS_timer_delete, TIMER},
    {SYS_semop, MESSAGE},
    {SYS_semtimedop, MESSAGE},
    {SYS_semctl, MESSAGE},
    {SYS_shmctl, MESSAGE},
    {SYS_msgctl, MESSAGE},
    {SYS_msgsnd, MESSAGE},
    {SYS_mq_timedsend, MESSAGE},
    {SYS_mq_unlink, MESSAGE},
    {SYS_msgrcv, RECEIVE_MESSAGE},
    {SYS_mq_timedreceive, RECEIVE_MESSAGE},
    {SYS_exit_group, END},
    {SYS_execve, EXECUTE},
    {SYS_execveat, EXECUTE},
};

/* Of some calls, those whose argument has no other bits pass at once. */
static const struct {
    int number;
    unsigned argument;
    uint32_t bits;
} passing[] = {
#ifdef SYS_open
    {SYS_open, 1, O_ACCMODE | O_CREAT | O_TRUNC},
#endif
    {SYS_openat, 2, O_ACCMODE | O_CREAT | O_TRUNC},
    {SYS_mmap, 3, MAP_SHARED},
    {SYS_fcntl, 1, ~(uint32_t)(F_GETFD | F_SETFD | F_GETFL)},
};

/* Nothing that an update needs: EPERM, as for those who may not. */
static const int forbidden[] = {SYS_ptrace,
                                SYS_process_vm_writev,
                                SYS_mount,
                                SYS_umount2,
                                SYS_pivot_root,
                                SYS_swapon,
                                SYS_swapoff,
                                SYS_reboot,
                                SYS_sethostname,
                                SYS_setdomainname,
                                SYS_settimeofday,
                                SYS_clock_settime,
                                SYS_adjtimex,
                                SYS_clock_adjtime,
                                SYS_init_module,
                                SYS_finit_module,
                                SYS_delete_module,
                                SYS_quotactl,
                                SYS_bpf,
                                SYS_perf_event_open,
                                SYS_add_key,
                                SYS_keyctl,
                                SYS_request_key,
                                SYS_kexec_load,
                                SYS_fanotify_mark,
                                SYS_open_by_handle_at,
                                SYS_move_pages,
                                SYS_migrate_pages,
                                SYS_setns,
                                SYS_acct,
                                SYS_name_to_handle_at};

/* Not looked through; libc has another way for each: ENOSYS, as of an older kernel. */
static const int missing[] = {SYS_clone3, SYS_openat2, SYS_io_uring_setup, SYS_io_uring_enter,
                              SYS_io_uring_register};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct {
    pid_t program, parent_of_program, copy, thread;
    struct kitsune__shared shared;
} own;

enum kind { WRITES, READS, FILES, CHANGES, CONNECTIONS, SIGNALS, OTHERS, KINDS };
static uint32_t counts[KINDS];

static long count(enum kind kind, long result) {
    counts[kind]++;
    return result;
}

size_t kitsune__withhold_tell(char *text, size_t size) {
    static const char *const names[KINDS][2] = {
        {"write", "writes"},
        {"read", "reads"},
        {"file opened for writing", "files opened for writing"},
        {"change of a file or socket", "changes of files or sockets"},
        {"connection", "connections"},
        {"signal", "signals"},
        {"other call", "other calls"},
    };
    size_t length = 0;
    text[0] = '\0';
    for (unsigned kind = 0; kind < KINDS; kind++)
        if (counts[kind] > 0)
            length += kitsune__format(text + length, size - length, "%s%u %s", length ? ", " : "",
                                      counts[kind], names[kind][counts[kind] > 1]);
    return length;
}

void kitsune__withhold_as(pid_t tid) {
    own.thread = tid != 0 ? tid : own.program;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static int is_among_shared(const struct stat *status) {
    uint32_t low = 0, high = own.shared.file_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct kitsune__file_id *at = &own.shared.files[middle];
        if (at->device == status->st_dev && at->inode == status->st_ino)
            return 1;
        if (at->device < status->st_dev ||
            (at->device == status->st_dev && at->inode < status->st_ino))
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static int option(long descriptor, int name, void *value, socklen_t size) {
    return KITSUNE__SYSCALL(SYS_getsockopt, descriptor, SOL_SOCKET, name, value, &size) == 0 ? 0
                                                                                             : -1;
}

/* Non-zero of a socket that does not only lead back into the copy, or to the kernel. */
static int leads_outside(long descriptor) {
    int domain = AF_UNSPEC;
    struct ucred peer = {0, 0, 0};
    if (option(descriptor, SO_DOMAIN, &domain, sizeof domain) != 0 || domain == AF_NETLINK)
        return 0;
    return domain != AF_UNIX || option(descriptor, SO_PEERCRED, &peer, sizeof peer) != 0 ||
           peer.pid != own.copy;
}

enum meaning { INWARD, SHARED_FILE, OUTWARD };

static enum meaning meaning_of(long descriptor, int is_for_writing) {
    struct stat status;
    if (KITSUNE__SYSCALL(SYS_fstat, descriptor, &status) != 0)
        return INWARD; /* the call itself says what is wrong */
    if (is_among_shared(&status))
        /* Files were opened anew: reading them moves nothing that the program sees. */
        return !is_for_writing && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
                   ? INWARD
                   : SHARED_FILE;
    int is_device = (S_ISCHR(status.st_mode) && major(status.st_rdev) != MEMORY_DEVICES) ||
                    S_ISBLK(status.st_mode);
    int is_outward = is_device || (S_ISSOCK(status.st_mode) && leads_outside(descriptor));
    return is_for_writing && is_outward ? OUTWARD : INWARD;
}

static long real(long number, const long a[6]) {
    return kitsune__syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static long withhold_read(long number, const long a[6]) {
    return meaning_of(a[0], 0) == INWARD ? real(number, a) : count(READS, -EAGAIN);
}

static long withhold_write(long number, const long a[6], long to, long size) {
    return meaning_of(to, 1) == INWARD ? real(number, a) : count(WRITES, size);
}

static long size_of_parts(const struct iovec *parts, long number) {
    size_t size = 0;
    for (long index = 0; index < number; index++)
        size += parts[index].iov_len;
    return (long)size;
}

static long size_of_message(const struct msghdr *message) {
    return size_of_parts(message->msg_iov, (long)message->msg_iovlen);
}

static long withhold_messages(long number, const long a[6]) {
    struct mmsghdr *messages = (void *)a[1];
    if (meaning_of(a[0], 1) == INWARD)
        return real(number, a);
    for (long index = 0; index < a[2]; index++)
        messages[index].msg_len = (unsigned)size_of_message(&messages[index].msg_hdr);
    return count(WRITES, a[2]);
}

static long withhold_splice(long number, const long a[6]) {
    if (meaning_of(a[0], 0) != INWARD)
        return count(READS, -EAGAIN);
    return withhold_write(number, a, a[2], a[4]);
}

static long withhold_change(long number, const long a[6]) {
    return meaning_of(a[0], 1) == SHARED_FILE ? count(CHANGES, 0) : real(number, a);
}

/* The socket for which this descriptor stands in; NULL: none. */
static const struct kitsune__stand_in *stand_in_of(long descriptor) {
    uint32_t low = 0, high = own.shared.stand_in_count;
    struct stat status;
    if (high == 0 || KITSUNE__SYSCALL(SYS_fstat, descriptor, &status) != 0 ||
        !S_ISSOCK(status.st_mode))
        return NULL;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct kitsune__stand_in *at = &own.shared.stand_ins[middle];
        if (at->inode == status.st_ino)
            return at;
        if (at->inode < status.st_ino)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void tell(const void *value, uint32_t size, void *to, socklen_t *room) {
    memcpy(to, value, size < *room ? size : *room);
    *room = size;
}

static long withhold_name(long number, const long a[6]) {
    const struct kitsune__stand_in *socket = stand_in_of(a[0]);
    int which = number == SYS_getpeername;
    if (socket == NULL)
        return real(number, a);
    if (socket->lengths[which] == 0)
        return -ENOTCONN;
    tell(socket->names[which], socket->lengths[which], (void *)a[1], (void *)a[2]);
    return 0;
}

/* Options of a protocol that the stand-in has not are all zero. */
static long withhold_option(const long a[6]) {
    static const int facts[] = KITSUNE__SOCKET_FACTS;
    const struct kitsune__stand_in *socket = stand_in_of(a[0]);
    if (socket == NULL)
        return real(SYS_getsockopt, a);
    for (size_t index = 0; index < COUNT(facts); index++)
        if (a[1] == SOL_SOCKET && a[2] == facts[index]) {
            tell(&socket->facts[index], sizeof *socket->facts, (void *)a[3], (void *)a[4]);
            return 0;
        }
    if (a[1] == SOL_SOCKET)
        return real(SYS_getsockopt, a);
    memset((void *)a[3], 0, *(socklen_t *)a[4]);
    return 0;
}

static int only_asks(long number, unsigned long request) {
    if (number == SYS_fcntl)
        return request == F_DUPFD || request == F_DUPFD_CLOEXEC || request == F_GETOWN ||
               request == F_GETPIPE_SZ || request == F_GET_SEALS;
    return request == FIONREAD || request == FIOCLEX || request == FIONCLEX || request == TCGETS ||
           request == TIOCGWINSZ || request == TIOCGPGRP || request == TIOCOUTQ ||
           request == SIOCGIFCONF || request == SIOCGIFFLAGS || request == SIOCGIFADDR ||
           request == SIOCGIFNETMASK || request == SIOCGIFINDEX || request == SIOCGIFNAME ||
           request == SIOCGIFMTU || request == SIOCGIFHWADDR;
}

static int is_lock(unsigned long command) {
    return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK ||
           command == F_OFD_SETLKW;
}

static long withhold_control(long number, const long a[6]) {
    if (number == SYS_fcntl && is_lock((unsigned long)a[1]))
        return count(CHANGES, 0);
    if (only_asks(number, (unsigned long)a[1]))
        return real(number, a);
    int is_mode = number == SYS_fcntl || a[1] == FIONBIO || a[1] == FIOASYNC;
    enum meaning meaning = meaning_of(a[0], 1);
    return meaning == INWARD || (meaning == OUTWARD && is_mode) ? real(number, a)
                                                                : count(CHANGES, 0);
}

/* ---- files by path --------------------------------------------------------------------------- */

static void copy_contents(long from, long to, const struct stat *status) {
    uint64_t size = (uint64_t)status->st_size;
    KITSUNE__SYSCALL(SYS_ftruncate, to, size);
    for (uint64_t left = size < COPIED_MAX ? size : COPIED_MAX; left > 0;) {
        long copied = KITSUNE__SYSCALL(SYS_sendfile, to, from, 0, left);
        if (copied <= 0)
            break;
        left -= (uint64_t)copied;
    }
    KITSUNE__SYSCALL(SYS_lseek, to, 0, SEEK_SET);
}

/* Gives a descriptor the lowest number that is free. */
static long lowest(long descriptor, int flags) {
    long low =
        KITSUNE__SYSCALL(SYS_fcntl, descriptor, flags & O_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
    KITSUNE__SYSCALL(SYS_close, descriptor);
    if (low >= 0 && flags & O_APPEND)
        KITSUNE__SYSCALL(SYS_fcntl, low, F_SETFL, O_APPEND);
    return low;
}

/* A file in memory instead; `existing` is the one on the disk, or negative. */
static long open_copy(long existing, const struct stat *status, int flags) {
    long memory = KITSUNE__SYSCALL(SYS_memfd_create, "rehearsal", MFD_CLOEXEC);
    if (memory >= 0 && existing >= 0 && !(flags & O_TRUNC))
        copy_contents(existing, memory, status);
    if (existing >= 0)
        KITSUNE__SYSCALL(SYS_close, existing);
    return memory < 0 ? memory : count(FILES, lowest(memory, flags));
}

static long open_existing(long existing, long directory, long path, int flags) {
    struct stat status;
    long result = KITSUNE__SYSCALL(SYS_fstat, existing, &status);
    if (result == 0 && flags & O_CREAT && flags & O_EXCL)
        result = -EEXIST;
    else if (result == 0 && S_ISDIR(status.st_mode))
        result = -EISDIR;
    else if (result == 0)
        result = KITSUNE__SYSCALL(SYS_faccessat, directory, path, W_OK);
    if (result == 0 && S_ISREG(status.st_mode))
        return open_copy(existing, &status, flags);
    KITSUNE__SYSCALL(SYS_close, existing);
    if (result != 0)
        return result;
    if (S_ISCHR(status.st_mode) && major(status.st_rdev) == MEMORY_DEVICES)
        return KITSUNE__SYSCALL(SYS_openat, directory, path, flags & ~O_CREAT, 0);
    return count(FILES, KITSUNE__SYSCALL(SYS_openat, AT_FDCWD, "/dev/null",
                                         flags & (O_ACCMODE | O_CLOEXEC | O_NONBLOCK), 0));
}

static long withhold_open(long directory, long path, long flags) {
    if (!(flags & (O_ACCMODE | O_CREAT | O_TRUNC)))
        return KITSUNE__SYSCALL(SYS_openat, directory, path, flags, 0);
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return open_copy(-1, NULL, (int)flags);
    long existing = KITSUNE__SYSCALL(SYS_openat, directory, path,
                                     O_RDONLY | O_CLOEXEC | O_NONBLOCK | (flags & O_NOFOLLOW), 0);
    if (existing >= 0)
        return open_existing(existing, directory, path, (int)flags);
    int may_be_written = existing == -EACCES && (flags & O_ACCMODE) == O_WRONLY &&
                         KITSUNE__SYSCALL(SYS_faccessat, directory, path, W_OK) == 0;
    int is_new = existing == -ENOENT && flags & O_CREAT;
    return may_be_written || is_new ? open_copy(-1, NULL, (int)flags) : existing;
}

/* What is mapped to be written through is mapped for the copy alone. */
static long withhold_map(const long a[6]) {
    long changed[6] = {a[0], a[1], a[2], a[3], a[4], a[5]};
    if (a[4] >= 0 && !(a[3] & MAP_ANONYMOUS) && meaning_of(a[4], 1) == SHARED_FILE)
        changed[3] = (a[3] & ~(long)MAP_TYPE) | MAP_PRIVATE;
    return real(SYS_mmap, changed);
}

/* ---- sockets --------------------------------------------------------------------------------- */

static long withhold_connect(const long a[6]) {
    int type = 0;
    const struct sockaddr *address = (const void *)a[1];
    if (meaning_of(a[0], 1) != SHARED_FILE &&
        ((option(a[0], SO_TYPE, &type, sizeof type) == 0 && type == SOCK_DGRAM) ||
         address->sa_family == AF_NETLINK))
        return real(SYS_connect, a); /* nothing leaves by that, and sends are withheld */
    return count(CONNECTIONS, -ECONNREFUSED);
}

/* Whether the name could be had, tried with a socket that is closed at once. */
static long try_name(const long a[6], int domain) {
    int type = 0, protocol = 0, value = 0;
    option(a[0], SO_TYPE, &type, sizeof type);
    option(a[0], SO_PROTOCOL, &protocol, sizeof protocol);
    if (option(a[0], SO_REUSEPORT, &value, sizeof value) == 0 && value != 0)
        return 0; /* several may have it */
    long probe = KITSUNE__SYSCALL(SYS_socket, domain, type | SOCK_CLOEXEC, protocol);
    if (probe < 0)
        return probe;
    if (option(a[0], SO_REUSEADDR, &value, sizeof value) == 0)
        KITSUNE__SYSCALL(SYS_setsockopt, probe, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value);
    socklen_t size = sizeof value;
    if (domain == AF_INET6 &&
        KITSUNE__SYSCALL(SYS_getsockopt, a[0], IPPROTO_IPV6, IPV6_V6ONLY, &value, &size) == 0)
        KITSUNE__SYSCALL(SYS_setsockopt, probe, IPPROTO_IPV6, IPV6_V6ONLY, &value, sizeof value);
    long result = KITSUNE__SYSCALL(SYS_bind, probe, a[1], a[2]);
    KITSUNE__SYSCALL(SYS_close, probe);
    return result;
}

static long withhold_bind(const long a[6]) {
    int domain = AF_UNSPEC;
    const struct sockaddr_un *address = (const void *)a[1];
    if (meaning_of(a[0], 1) == SHARED_FILE)
        return count(CHANGES, -EINVAL); /* it has a name */
    option(a[0], SO_DOMAIN, &domain, sizeof domain);
    if (domain == AF_NETLINK)
        return real(SYS_bind, a);
    if (domain != AF_UNIX || a[2] <= (long)sizeof address->sun_family || !address->sun_path[0])
        return count(CHANGES, try_name(a, domain));
    int is_there = KITSUNE__SYSCALL(SYS_faccessat, AT_FDCWD, address->sun_path, F_OK) == 0;
    return count(CHANGES, is_there ? -EADDRINUSE : 0);
}

/* A listener of the new version's own has no name, see above. */
static long withhold_listen(const long a[6]) {
    (void)a;
    return count(CHANGES, 0);
}

/* ---- processes ------------------------------------------------------------------------------- */

static int is_copy(long process) {
    return process == own.program || process == own.copy;
}

static long withhold_kill(long number, const long a[6]) {
    return is_copy(a[0]) ? KITSUNE__SYSCALL(number, own.copy, a[1], a[2]) : count(SIGNALS, 0);
}

static long real_thread(void) {
    return KITSUNE__SYSCALL(SYS_gettid);
}

/* `process` is 0 if the call names none. */
static long withhold_thread_kill(long number, long process, long thread, long signal, long info) {
    int is_self = thread == own.thread || thread == real_thread();
    if ((process != 0 && !is_copy(process)) || !is_self)
        return count(SIGNALS, 0);
    if (number == SYS_rt_tgsigqueueinfo)
        return KITSUNE__SYSCALL(number, own.copy, real_thread(), signal, info);
    return KITSUNE__SYSCALL(SYS_tgkill, own.copy, real_thread(), signal);
}

/* Threads that the new version made have ids of their own. */
static long withhold_thread_id(void) {
    long thread = real_thread();
    return thread == own.copy ? own.thread : thread;
}

static long withhold_of_process(long number, const long a[6], unsigned at) {
    long changed[6] = {a[0], a[1], a[2], a[3], a[4], a[5]};
    if (a[at] != 0 && !is_copy(a[at]) && a[at] != own.thread)
        return count(OTHERS, 0);
    changed[at] = 0;
    return real(number, changed);
}

static long withhold_timer(long number, const long a[6]) {
    long result = real(number, a);
    return result == -EINVAL ? count(OTHERS, 0) : result;
}

static int is_child(void) {
    return KITSUNE__SYSCALL(SYS_getpid) != own.copy;
}

static long withhold_end(long number, const long a[6]) {
    if (is_child())
        return real(number, a);
    if (number == SYS_exit_group)
        kitsune__journal_abort(KITSUNE__EXITED, "a library called _exit(%d) in the new version",
                               (int)a[0]);
    kitsune__journal_abort(KITSUNE__REFUSED_CALL, "a library called execve() in the new version,");
}

/* ---- the trap -------------------------------------------------------------------------------- */

static long of_processes(enum way way, long number, const long a[6]) {
    switch (way) {
    case KILL:
        return withhold_kill(number, a);
    case KILL_THREAD:
        return withhold_thread_kill(number, 0, a[0], a[1], 0);
    case KILL_THREAD_OF:
        return withhold_thread_kill(number, a[0], a[1], a[2], a[3]);
    case SIGNAL_DESCRIPTOR:
        return count(SIGNALS, 0);
    case OWN_PROCESS:
        return is_child() ? real(number, a) : own.program;
    case OWN_THREAD:
        return is_child() ? real(number, a) : withhold_thread_id();
    case OWN_PARENT:
        return is_child() ? own.program : own.parent_of_program;
    case OF_PROCESS:
        return withhold_of_process(number, a, 0);
    case OF_ONE_PROCESS:
        return withhold_of_process(number, a, 1);
    case TIMER:
        return withhold_timer(number, a);
    case MESSAGE:
        return count(OTHERS, 0);
    case RECEIVE_MESSAGE:
        return count(OTHERS, -EAGAIN);
    default:
        return withhold_end(number, a);
    }
}

static long of_files(enum way way, long number, const long a[6]) {
    switch (way) {
    case CHANGE_PATH:
        return count(CHANGES, 0);
    case OPEN:
        return withhold_open(AT_FDCWD, a[0], a[1]);
    case OPEN_AT:
        return withhold_open(a[0], a[1], a[2]);
    case CREATE:
        return withhold_open(AT_FDCWD, a[0], O_WRONLY | O_CREAT | O_TRUNC);
    case CONNECT:
        return withhold_connect(a);
    case BIND:
        return withhold_bind(a);
    case MAP:
        return withhold_map(a);
    default:
        return of_processes(way, number, a);
    }
}

static long perform(enum way way, long number, const long a[6]) {
    switch (way) {
    case READ:
        return withhold_read(number, a);
    case WRITE:
        return withhold_write(number, a, a[0], a[2]);
    case WRITE_PARTS:
    case SPLICE_OUT:
        return withhold_write(number, a, a[0], size_of_parts((const void *)a[1], a[2]));
    case SEND_MESSAGE:
        return withhold_write(number, a, a[0], size_of_message((const void *)a[1]));
    case SEND_MESSAGES:
        return withhold_messages(number, a);
    case SEND_FILE:
        return withhold_write(number, a, a[0], a[3]);
    case SPLICE:
        return withhold_splice(number, a);
    case TEE:
        return withhold_write(number, a, a[1], a[2]);
    case CHANGE:
        return number == SYS_listen ? withhold_listen(a) : withhold_change(number, a);
    case SOCKET_NAME:
        return withhold_name(number, a);
    case SOCKET_OPTION:
        return withhold_option(a);
    case CONTROL:
        return withhold_control(number, a);
    case LOCK:
        return count(CHANGES, 0);
    default:
        return of_files(way, number, a);
    }
}

int kitsune__withhold_trap(const void *information, void *context) {
    const siginfo_t *info = information;
    if (own.copy == 0 || info->si_code != SYS_SECCOMP)
        return 0;
    long a[6];
    for (unsigned index = 0; index < COUNT(a); index++)
        a[index] = kitsune__interrupted_argument(context, index);
    for (size_t index = 0; index < COUNT(withheld); index++)
        if (withheld[index].number == info->si_syscall) {
            kitsune__interrupted_return(context, perform(withheld[index].way, info->si_syscall, a));
            return 1;
        }
    return 0;
}

/* Before the transaction begins, which has a handler of its own. */
static void on_trap(int number, siginfo_t *info, void *context) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    if (!kitsune__withhold_trap(info, context))
        sigaction(number, &standard, NULL);
}

/* ---- the filter ------------------------------------------------------------------------------ */

#define PASSING_LENGTH 5 /* instructions for each */
#define HEAD_LENGTH 4
#define TAIL_LENGTH 9
#define FILTER_LENGTH                                                                              \
    (HEAD_LENGTH + PASSING_LENGTH * COUNT(passing) + COUNT(withheld) + COUNT(forbidden) +          \
     COUNT(missing) + TAIL_LENGTH)

#define OFFSET(member) ((uint32_t)offsetof(struct seccomp_data, member))
#define LOAD(member) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, OFFSET(member))
#define RETURN(value) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, value)

struct filter {
    struct sock_filter code[FILTER_LENGTH];
    uint16_t length;
};

static void put(struct filter *filter, struct sock_filter instruction) {
    filter->code[filter->length++] = instruction;
}

/* The number is loaded; where it is this one, goes on at `target`. */
static void put_case(struct filter *filter, int number, size_t target) {
    uint8_t distance = (uint8_t)(target - filter->length - 1u);
    put(filter,
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, distance, 0));
}

static void put_passing(struct filter *filter, size_t index, size_t look) {
    uint32_t offset = OFFSET(args) + passing[index].argument * (uint32_t)sizeof(uint64_t);
    put(filter,
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)passing[index].number, 0,
                                     PASSING_LENGTH - 1));
    put(filter, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
    put(filter,
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, passing[index].bits, 1, 0));
    put(filter, RETURN(SECCOMP_RET_ALLOW));
    put(filter,
        (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, (uint32_t)(look - filter->length - 1u)));
}

_Static_assert(COUNT(withheld) + COUNT(forbidden) + COUNT(missing) + TAIL_LENGTH < 256,
               "a jump's distance is a byte");

static void make_filter(struct filter *filter) {
    const uint64_t made = (uintptr_t)kitsune__syscall_made;
    const size_t tail = FILTER_LENGTH - TAIL_LENGTH;
    const size_t absent = tail + 1, denied = tail + 2, look = tail + 3;
    put(filter, LOAD(arch));
    put(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KITSUNE__AUDIT_ARCH, 1, 0));
    put(filter, RETURN(SECCOMP_RET_ERRNO | ENOSYS));
    put(filter, LOAD(nr));
    for (size_t index = 0; index < COUNT(passing); index++)
        put_passing(filter, index, look);
    for (size_t index = 0; index < COUNT(withheld); index++)
        put_case(filter, withheld[index].number, look);
    for (size_t index = 0; index < COUNT(forbidden); index++)
        put_case(filter, forbidden[index], denied);
    for (size_t index = 0; index < COUNT(missing); index++)
        put_case(filter, missing[index], absent);
    /* The numbers of the x32 interface begin at 0x40000000. */
    put(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 7));
    put(filter, RETURN(SECCOMP_RET_ERRNO | ENOSYS));
    put(filter, RETURN(SECCOMP_RET_ERRNO | EPERM));
    put(filter, LOAD(instruction_pointer));
    put(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)made, 0, 2));
    put(filter,
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, OFFSET(instruction_pointer) + 4));
    put(filter,
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(made >> 32), 1, 0));
    put(filter, RETURN(SECCOMP_RET_TRAP));
    put(filter, RETURN(SECCOMP_RET_ALLOW));
}

int kitsune__withhold(pid_t program, pid_t parent, const struct kitsune__shared *shared) {
    struct filter filter = {.length = 0};
    own.program = own.thread = program;
    own.parent_of_program = parent;
    own.copy = (pid_t)KITSUNE__SYSCALL(SYS_getpid);
    own.shared = *shared;
    make_filter(&filter);
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER, .sa_sigaction = on_trap};
    sigaction(SIGSYS, &action, NULL);
    struct sock_fprog program_of_filter = {filter.length, filter.code};
    KITSUNE__SYSCALL(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return (int)KITSUNE__SYSCALL(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program_of_filter);
}
