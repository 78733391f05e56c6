/*
 * The line: bytes of data become frames, acknowledgements are counted, an abort is noticed. See PROTOCOL.md.
 *
 * Nothing waits for the line but `frames_put...` and `frames_finish`; everybody who computes for long calls
 * `frames_serve`, so that the UART always has something to send.
 */
#ifndef FRAMES_H
#define FRAMES_H

#include <stdint.h>

enum { FRAME_BYTES = 1024, MAX_WINDOW = 64 };

/* How a stream ends. The host is told only of the ones that it can be told of. */
enum { COMPLETE = 0, ABORTED = 1, STALLED = 2, FLASH_FAILED = 3 };

/* `discard`: data is counted, not sent. */
void frames_begin(uint32_t window, uint32_t discard);

/* Moves what can be moved between the UART and memory, without waiting. */
void frames_serve(void);

/* One byte of data. Waits for room; drops the byte if the stream has ended. */
void frames_put(uint8_t byte);
void frames_put_bytes(const uint8_t *bytes, uint32_t count);

/* COMPLETE while all is well. The first failure stays. */
uint32_t frames_status(void);
void frames_fail(uint32_t status);

/* Bytes of data so far. */
uint32_t frames_data_bytes(void);

/* Sends what waits, then the last frame: status, bytes read, bytes of data, turns, and the digest. */
void frames_finish(uint32_t bytes_read, const uint8_t digest[16]);

/* Leaves the line between two frames of the host, so that the stub finds the beginning of the next. */
void frames_leave(void);

#endif
