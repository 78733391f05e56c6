/* STREAM: the bytes of a list of runs, compressed or as they are. */
#ifndef STREAM_H
#define STREAM_H

#include <stdint.h>

/* Words of a request before its runs, which are two words each. */
enum { STREAM_WORDS = 4 };
enum { STREAM_DICTIONARY = 1, STREAM_PATTERN = 2, STREAM_MEASURE = 4 };

/* Is a request of that many words within its ranges? */
uint32_t stream_valid(const uint32_t *request, uint32_t words);
/* Sends the frames of a valid request. */
void stream_send(const uint32_t *request);

#endif
