/* Runs a command as if the kernel had not what is named: old_kernel NAME... -- COMMAND... */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGEMAP_SCAN 0xc0606610u
#define MFD_NEWER (0x8u | 0x10u) /* MFD_NOEXEC_SEAL, MFD_EXEC */

/* A system call, or the uses of it whose argument is this value, or has one of these bits. */
static const struct facility {
    const char *name;
    unsigned call, argument, value, bits, error;
} facilities[] = {
    {"pidfd_open", SYS_pidfd_open, 0, 0, 0, ENOSYS},
    {"close_range", SYS_close_range, 0, 0, 0, ENOSYS},
    {"kcmp", SYS_kcmp, 0, 0, 0, ENOSYS},
    {"process_vm_readv", SYS_process_vm_readv, 0, 0, 0, ENOSYS},
    {"rseq", SYS_rseq, 0, 0, 0, ENOSYS},
    {"clone3", SYS_clone3, 0, 0, 0, ENOSYS},
    {"faccessat2", SYS_faccessat2, 0, 0, 0, ENOSYS},
    {"pagemap_scan", SYS_ioctl, 1, PAGEMAP_SCAN, 0, ENOTTY},
    {"mfd_exec", SYS_memfd_create, 1, 0, MFD_NEWER, EINVAL},
    {"seccomp", SYS_seccomp, 0, 0, 0, ENOSYS},
};

static int forbid(const struct facility *of)
{
    unsigned argument = offsetof(struct seccomp_data, args) + of->argument * 8;
    unsigned test = of->bits ? BPF_JSET : BPF_JEQ, wanted = of->bits ? of->bits : of->value;
    unsigned is_whole = !of->bits && !of->value;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, of->call, 0, 4),
        BPF_JUMP(BPF_JMP | BPF_JA, is_whole ? 2 : 0, 0, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument),
        BPF_JUMP(BPF_JMP | test | BPF_K, wanted, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | of->error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};

    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int forbid_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof facilities / sizeof facilities[0]; i++)
        if (strcmp(facilities[i].name, name) == 0)
            return forbid(&facilities[i]);
    return -1;
}

int main(int count, char **words)
{
    int at = 1;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return 125;
    for (; at < count && strcmp(words[at], "--") != 0; at++)
        if (forbid_by_name(words[at]) != 0)
            return 125;
    if (at + 1 >= count)
        return 125;
    execvp(words[at + 1], words + at + 1);
    return 126;
}
