#include "huffman.h"
#include "frames.h"

enum { MAX_LENGTH = 15 };

static uint16_t sorted[MAX_SYMBOLS];
static uint32_t node[MAX_SYMBOLS];

/* Shell sort of the symbols that occur, by frequency; needs no memory and has no bad case worth a name at 288. */
static void sort(const uint16_t *frequencies, uint32_t used)
{
    static const uint32_t gaps[] = {132, 57, 23, 10, 4, 1};
    for (uint32_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++) {
        uint32_t gap = gaps[g];
        for (uint32_t i = gap; i < used; i++) {
            uint16_t symbol = sorted[i];
            uint32_t j = i;
            for (; j >= gap && frequencies[sorted[j - gap]] > frequencies[symbol]; j -= gap)
                sorted[j] = sorted[j - gap];
            sorted[j] = symbol;
        }
    }
}

/*
 * Depths of the inner nodes of the Huffman tree over sorted frequencies, in place (A. Moffat and J. Katajainen,
 * "In-place calculation of minimum-redundancy codes", 1995): node[] first holds the frequencies of the leaves; as
 * leaves are used up, the sums of inner nodes take their places, then the parents of those, and last their depths.
 */
static void inner_depths(uint32_t used)
{
    uint32_t leaf = 0, inner = 0;
    for (uint32_t next = 0; next < used - 1; next++) {
        uint32_t sum = 0;
        for (uint32_t child = 0; child < 2; child++) {
            if (leaf >= used || (inner < next && node[inner] < node[leaf])) {
                sum += node[inner];
                node[inner++] = next;
            } else {
                sum += node[leaf++];
            }
        }
        node[next] = sum;
    }
    node[used - 2] = 0;
    for (uint32_t i = used - 2; i-- > 0;) node[i] = node[node[i]] + 1;
}

/* How many leaves each depth has; deeper ones than the limit are counted there. */
static void count_leaves(uint32_t used, uint32_t limit, uint32_t *count)
{
    uint32_t inner_left = used - 1, places = 1;
    for (uint32_t depth = 0; places > 0; depth++) {
        uint32_t inner = 0;
        for (; inner_left > 0 && node[inner_left - 1] == depth; inner_left--) inner++;
        count[depth < limit ? depth : limit] += places - inner;
        places = 2 * inner;
    }
}

/* Leaves moved up to the limit need room: a leaf above goes one down and takes one of the deepest beside it. */
static void fit(uint32_t limit, uint32_t *count)
{
    uint32_t sum = 0;
    for (uint32_t length = 1; length <= limit; length++) sum += count[length] << (limit - length);
    for (; sum > 1u << limit; sum--) {
        uint32_t length = limit - 1;
        while (count[length] == 0) length--;
        count[length]--;
        count[length + 1] += 2;
        count[limit]--;
    }
}

void huffman_lengths(const uint16_t *frequencies, uint8_t *lengths, uint32_t symbols, uint32_t limit)
{
    uint32_t used = 0, count[MAX_LENGTH + 1];
    for (uint32_t i = 0; i < symbols; i++) {
        lengths[i] = 0;
        if (frequencies[i] > 0) sorted[used++] = (uint16_t)i;
    }
    if (used < 2) {
        uint32_t only = used > 0 ? sorted[0] : 0;
        lengths[only] = lengths[only > 0 ? 0 : 1] = 1;
        return;
    }
    sort(frequencies, used);
    frames_serve();
    for (uint32_t i = 0; i < used; i++) node[i] = frequencies[sorted[i]];
    inner_depths(used);
    for (uint32_t i = 0; i <= MAX_LENGTH; i++) count[i] = 0;
    count_leaves(used, limit, count);
    fit(limit, count);
    /* The rarest symbols get the longest codes. */
    uint32_t next = 0;
    for (uint32_t length = limit; length > 0; length--)
        for (uint32_t i = count[length]; i > 0; i--) lengths[sorted[next++]] = (uint8_t)length;
}

void huffman_codes(const uint8_t *lengths, uint16_t *codes, uint32_t symbols)
{
    uint32_t count[MAX_LENGTH + 1], next[MAX_LENGTH + 1];
    for (uint32_t i = 0; i <= MAX_LENGTH; i++) count[i] = 0;
    for (uint32_t i = 0; i < symbols; i++) count[lengths[i]]++;
    count[0] = 0;
    next[0] = 0;
    for (uint32_t length = 1; length <= MAX_LENGTH; length++)
        next[length] = (next[length - 1] + count[length - 1]) << 1;
    for (uint32_t i = 0; i < symbols; i++) {
        uint32_t length = lengths[i], reversed = 0;
        if (length == 0) continue;
        uint32_t value = next[length]++;
        for (uint32_t bit = 0; bit < length; bit++) {
            reversed = reversed << 1 | (value & 1);
            value >>= 1;
        }
        codes[i] = (uint16_t)reversed;
    }
}
