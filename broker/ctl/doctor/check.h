/* SPDX-License-Identifier: MIT */
/* Checks of swctl doctor. Each examines one thing, and states what it found and what to do. */
#ifndef SWB_CTL_DOCTOR_CHECK_H
#define SWB_CTL_DOCTOR_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum ctl_result { CTL_CHECK_OK, CTL_CHECK_UNKNOWN, CTL_CHECK_WARN, CTL_CHECK_FAIL };

struct ctl_check {
    const char *name; /* static */
    enum ctl_result result;
    char found[256];
    char remedy[320]; /* "": nothing to do */
};

/* What is known about the running broker, or planned for one. */
struct ctl_subject {
    const json_t *stats; /* NULL: no broker answers */
    const char *why;     /* no broker: the reason */
    const char *socket_path;
    const char *chunks_dir; /* NULL: unknown */
    uint64_t cache_bytes;   /* 0: unknown */
    pid_t pid;              /* of the broker, or this process */
    uid_t uid;              /* of the broker, or of this process */
};

/* Fills found and remedy (may be NULL). */
void ctl_check_set(struct ctl_check *check, enum ctl_result result, const char *remedy,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));

typedef void (*ctl_check_fn)(const struct ctl_subject *subject, struct ctl_check *check);

/* ctl/doctor/check_machine.c */
void ctl_check_kernel(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_uring(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_shm(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_huge(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_memory(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_cgroup(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_files(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_memlock(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_processor(const struct ctl_subject *subject, struct ctl_check *check);

/* ctl/doctor/check_broker.c */
void ctl_check_answer(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_release(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_isolation(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_socket(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_chunks(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_direct(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_catalog(const struct ctl_subject *subject, struct ctl_check *check);
void ctl_check_damage(const struct ctl_subject *subject, struct ctl_check *check);

#endif
