/* TABLE: the first bytes of the MD5 of each sector. */
#ifndef TABLE_H
#define TABLE_H

#include <stdint.h>

enum { TABLE_WORDS = 3, MAX_SECTORS = 4096, SECTOR_DIGEST_BYTES = 8 };

/* Is the request (address, sectors, window) within its ranges? */
uint32_t table_valid(const uint32_t *request);
/* Sends the frames of a valid request. */
void table_send(const uint32_t *request);

#endif
