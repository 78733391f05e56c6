/*
 * Finds repetitions: chains of earlier positions with the same hash of three bytes, longest match wins; lazy levels
 * look one position further before they take one. block.c writes what was found.
 */
#include "deflate.h"
#include "block.h"
#include "frames.h"

#define RING_MASK (RING_BYTES - 1u)
/* Input that must be there before a position is looked at, so that no match is cut short by the end of a piece. */
#define LOOK_AHEAD (MAX_MATCH + 6u)
/* A match of three bytes from farther away costs more than three literals. */
#define FAR_FOR_THREE 4096u

/* How hard each level tries: candidates for a match; below which length a better one is looked for (0: never). */
static const struct {
    uint32_t candidates, lazy_below;
} levels[MAX_LEVEL + 1] = {{0, 0}, {1, 0}, {8, 16}, {32, 64}};

static uint8_t ring[RING_BYTES + MIRROR_BYTES] __attribute__((aligned(4)));
/* Low 16 bits of positions: the newest of each hash, and for each position the one before with the same hash. */
static uint16_t newest[1u << HASH_BITS], before[RING_BYTES];

/* Positions in the input. They begin at RING_BYTES, so that 0 in a table is out of reach. */
static uint32_t input_end, position, block_start, oldest;

static uint32_t candidates, lazy_below;

/* Lazy levels: the byte before `position` is not yet coded, and this is the match that was found there. */
static uint32_t held, held_length, held_distance;

static uint8_t *at(uint32_t where)
{
    return ring + (where & RING_MASK);
}

/* Enters a position into its chain; returns the one before. */
static inline uint32_t enter(uint32_t where)
{
    const uint8_t *p = at(where);
    uint32_t hash = (uint32_t)(p[0] | p[1] << 8 | p[2] << 16) * 0x9e3779b1u >> (32 - HASH_BITS);
    uint32_t earlier = newest[hash];
    before[where & RING_MASK] = (uint16_t)earlier;
    newest[hash] = (uint16_t)where;
    return earlier;
}

/* Positions of a match that was taken; the first has been entered when it was looked for. */
static void enter_rest(uint32_t from, uint32_t end)
{
    for (; from < end && from + 3 <= input_end; from++) enter(from);
}

/*
 * The longest match at `position` with more than `longer_than` and at most `most` bytes: its length, or 0. Chains hold
 * 16 bits of a position, so an entry may be one that was overwritten long ago: distances that do not grow end the
 * search, and every byte is compared, so a wrong candidate is never a wrong match.
 */
static uint32_t find(uint32_t candidate, uint32_t longer_than, uint32_t most, uint32_t *distance)
{
    const uint8_t *here = at(position);
    uint32_t reach = position - oldest, last = 0, found = 0;
    if (reach > HISTORY_BYTES) reach = HISTORY_BYTES;
    if (longer_than >= most) return 0;
    uint32_t first = here[0], decisive = here[longer_than];
    for (uint32_t tries = candidates; tries > 0; tries--) {
        uint32_t back = (uint16_t)(position - candidate);
        if (back <= last || back > reach) break;
        last = back;
        uint32_t index = candidate & RING_MASK;
        const uint8_t *there = ring + index;
        candidate = before[index];
        if (there[longer_than] != decisive || there[0] != first) continue;
        uint32_t length = 1;
        while (length < most && there[length] == here[length]) length++;
        if (length <= longer_than) continue;
        found = longer_than = length;
        *distance = back;
        if (length == most) break;
        decisive = here[length];
    }
    return found;
}

static void write_block(uint32_t last)
{
    uint32_t end = position - held;
    block_write(last, ring, RING_MASK, block_start, end - block_start);
    block_start = end;
}

/* A match at `position`, or 0. */
static uint32_t look(uint32_t *distance)
{
    uint32_t available = input_end - position;
    uint32_t most = available > MAX_MATCH ? MAX_MATCH : available;
    if (available < 3) return 0;
    uint32_t earlier = enter(position);
    if (held && held_length >= lazy_below) return 0;
    uint32_t length = find(earlier, held && held_length > 2 ? held_length : 2, most, distance);
    return length == 3 && *distance > FAR_FOR_THREE ? 0 : length;
}

/* One step without looking further: a match or a literal. */
static void step_greedy(uint32_t length, uint32_t distance)
{
    if (length == 0) {
        block_literal(*at(position++));
        return;
    }
    block_match(length, distance);
    enter_rest(position + 1, position + length);
    position += length;
}

/* One step that holds its byte back, until it is known whether the next position has a longer match. */
static void step_lazy(uint32_t length, uint32_t distance)
{
    if (held && held_length >= 3 && length <= held_length) {
        uint32_t end = position - 1 + held_length;
        block_match(held_length, held_distance);
        enter_rest(position + 1, end);
        position = end;
        held = held_length = 0;
        return;
    }
    if (held) block_literal(*at(position - 1));
    held = 1;
    held_length = length;
    held_distance = distance;
    position++;
}

/* Codes the input as far as it can be judged; all of it at the end. */
static void code(uint32_t ending)
{
    while (position < input_end) {
        if (!ending && input_end - position < LOOK_AHEAD) return;
        uint32_t distance = 0, length = look(&distance);
        if (lazy_below > 0)
            step_lazy(length, distance);
        else
            step_greedy(length, distance);
        if (block_full()) write_block(0);
    }
    if (ending && held) {
        block_literal(*at(position - 1));
        held = 0;
    }
}

void deflate_begin(uint32_t level)
{
    candidates = levels[level].candidates;
    lazy_below = levels[level].lazy_below;
    input_end = position = block_start = oldest = RING_BYTES;
    held = held_length = held_distance = 0;
    for (uint32_t i = 0; i < 1u << HASH_BITS; i++) newest[i] = 0;
    block_begin();
}

uint8_t *deflate_space(void)
{
    return at(input_end);
}

uint32_t deflate_room(void)
{
    return INPUT_BYTES - (input_end & (INPUT_BYTES - 1));
}

static void arrived(uint32_t bytes)
{
    uint32_t from = input_end & RING_MASK;
    for (uint32_t i = from; i < MIRROR_BYTES && i < from + bytes; i++) ring[RING_BYTES + i] = ring[i];
    input_end += bytes;
}

void deflate_dictionary(uint32_t bytes)
{
    arrived(bytes);
    for (uint32_t i = 0; position + 3 <= input_end; i++) {
        enter(position++);
        if (i % 16 == 0) frames_serve();
    }
    /* The last two bytes of a piece begin no chain: that costs a match now and then, nothing else. */
    position = block_start = input_end;
}

void deflate_input(uint32_t bytes)
{
    arrived(bytes);
    code(0);
}

void deflate_end(void)
{
    code(1);
    write_block(1);
}
