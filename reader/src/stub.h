/* How the stub calls a command: esp-flasher-stub, src/command_handler.h and docs/plugin-system.md. */
#ifndef STUB_H
#define STUB_H

#include <stdint.h>

/* The request as the stub sees it; not needed here. */
struct context;

/* Zeroed by the stub before the call. */
struct reply {
    uint32_t value;
    uint8_t data[64];
    uint16_t data_bytes;
    /* Called after the reply has left. What it returns other than 0 would be the status of the next command. */
    int (*post_process)(const struct context *);
};

/* Returns the status of the reply: 0, or a number whose high byte is sent first. */
int reader_command(uint32_t opcode, const uint8_t *data, uint32_t bytes, struct reply *reply);

#endif
