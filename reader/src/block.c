#include "block.h"
#include "deflate.h"
#include "frames.h"
#include "huffman.h"

/* Sizes and numbers of RFC 1951, 3.2.5 to 3.2.7. */
enum { LITERAL_CODES = 286, FIXED_LITERAL_CODES = 288, DISTANCE_CODES = 30, FIXED_DISTANCE_CODES = 32 };
enum { LENGTH_CODES = 19 };
enum { END_OF_BLOCK = 256, FIRST_LENGTH = 257, MAX_CODE_BITS = 15, MAX_LENGTH_CODE_BITS = 7 };
enum { STORED, FIXED, DYNAMIC };
enum { REPEAT = 16, ZEROS_3, ZEROS_11 };

static uint16_t symbol[BLOCK_SYMBOLS];          /* a literal, or the length of a match */
static uint16_t symbol_distance[BLOCK_SYMBOLS]; /* 0: a literal */
static uint32_t symbols;

static uint16_t literal_count[FIXED_LITERAL_CODES], distance_count[FIXED_DISTANCE_CODES];
static uint8_t literal_bits[FIXED_LITERAL_CODES], distance_bits[FIXED_DISTANCE_CODES];
static uint16_t literal_code[FIXED_LITERAL_CODES], distance_code[FIXED_DISTANCE_CODES];

/* The two tables of lengths, run-length coded: symbols of the third code, and their extra bits. */
static uint8_t table[LITERAL_CODES + DISTANCE_CODES], table_extra[LITERAL_CODES + DISTANCE_CODES];
static uint32_t table_symbols;
static uint16_t table_count[LENGTH_CODES], table_code[LENGTH_CODES];
static uint8_t table_bits[LENGTH_CODES];

static uint32_t bit_buffer, bit_count;

/* bits: at most 24. */
static void put_bits(uint32_t value, uint32_t bits)
{
    bit_buffer |= value << bit_count;
    bit_count += bits;
    while (bit_count >= 8) {
        frames_put((uint8_t)bit_buffer);
        bit_buffer >>= 8;
        bit_count -= 8;
    }
}

static void fill_byte(void)
{
    if (bit_count > 0) put_bits(0, 8 - bit_count);
}

/* A symbol of a code: which, how many extra bits follow, and their value. */
struct coded {
    uint32_t symbol, extra_bits, extra;
};

/*
 * Lengths and distances grow by powers of two: with n extra bits there are `per_power` symbols, each for 2^n values.
 * Value 0 is the shortest.
 */
static inline struct coded code_of(uint32_t value, uint32_t log2_per_power)
{
    uint32_t bits = value < 1024 ? 0 : 8 - log2_per_power;
    while (value >> (bits + log2_per_power + 1)) bits++;
    return (struct coded){(bits << log2_per_power) + (value >> bits), bits, value & ((1u << bits) - 1)};
}

static inline struct coded length_code(uint32_t length)
{
    /* 258 has a code of its own, without extra bits. */
    if (length == MAX_MATCH) return (struct coded){28, 0, 0};
    return code_of(length - 3, 2);
}

static inline struct coded distance_symbol(uint32_t distance)
{
    return code_of(distance - 1, 1);
}

static uint32_t literal_extra_bits(uint32_t code)
{
    return code < FIRST_LENGTH + 8 || code == FIRST_LENGTH + 28 ? 0 : (code - FIRST_LENGTH - 4) >> 2;
}

static uint32_t distance_extra_bits(uint32_t code)
{
    return code < 4 ? 0 : (code - 2) >> 1;
}

static uint32_t table_extra_bits(uint32_t code)
{
    return code == REPEAT ? 2 : code == ZEROS_3 ? 3 : code == ZEROS_11 ? 7 : 0;
}

static void forget_symbols(void)
{
    for (uint32_t i = 0; i < FIXED_LITERAL_CODES; i++) literal_count[i] = 0;
    for (uint32_t i = 0; i < FIXED_DISTANCE_CODES; i++) distance_count[i] = 0;
    symbols = 0;
}

void block_begin(void)
{
    forget_symbols();
    bit_buffer = bit_count = 0;
}

uint32_t block_full(void)
{
    return symbols >= BLOCK_SYMBOLS - 2;
}

static inline void gathered(void)
{
    if (++symbols % 8 == 0) frames_serve();
}

void block_literal(uint32_t byte)
{
    symbol[symbols] = (uint16_t)byte;
    symbol_distance[symbols] = 0;
    literal_count[byte]++;
    gathered();
}

void block_match(uint32_t length, uint32_t distance)
{
    symbol[symbols] = (uint16_t)length;
    symbol_distance[symbols] = (uint16_t)distance;
    literal_count[FIRST_LENGTH + length_code(length).symbol]++;
    distance_count[distance_symbol(distance).symbol]++;
    gathered();
}

static void use_fixed_lengths(void)
{
    for (uint32_t i = 0; i < FIXED_LITERAL_CODES; i++) literal_bits[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    for (uint32_t i = 0; i < FIXED_DISTANCE_CODES; i++) distance_bits[i] = 5;
}

/* Bits that the symbols take with the present lengths. */
static uint32_t symbols_cost(void)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < LITERAL_CODES; i++)
        if (literal_count[i]) bits += literal_count[i] * (literal_bits[i] + literal_extra_bits(i));
    for (uint32_t i = 0; i < DISTANCE_CODES; i++)
        if (distance_count[i]) bits += distance_count[i] * (distance_bits[i] + distance_extra_bits(i));
    return bits;
}

static void table_put(uint32_t code, uint32_t extra)
{
    table[table_symbols] = (uint8_t)code;
    table_extra[table_symbols++] = (uint8_t)extra;
    table_count[code]++;
}

/* A run of equal lengths. */
static void table_put_run(uint32_t length, uint32_t run)
{
    if (length > 0) {
        table_put(length, 0);
        run--;
    }
    while (run >= 3) {
        uint32_t most = length > 0 ? 6 : 138, part = run < most ? run : most;
        /* Never leave one or two behind: they would cost a symbol each. */
        if (run > most && run - most < 3) part = run - 3;
        if (length > 0)
            table_put(REPEAT, part - 3);
        else if (part <= 10)
            table_put(ZEROS_3, part - 3);
        else
            table_put(ZEROS_11, part - 11);
        run -= part;
    }
    for (; run > 0; run--) table_put(length, 0);
}

static uint32_t length_at(uint32_t i, uint32_t literals)
{
    return i < literals ? literal_bits[i] : distance_bits[i - literals];
}

static void make_table(uint32_t literals, uint32_t distances)
{
    uint32_t all = literals + distances;
    table_symbols = 0;
    for (uint32_t i = 0; i < LENGTH_CODES; i++) table_count[i] = 0;
    for (uint32_t i = 0; i < all;) {
        uint32_t length = length_at(i, literals), run = 1;
        while (i + run < all && length_at(i + run, literals) == length) run++;
        table_put_run(length, run);
        i += run;
    }
    huffman_lengths(table_count, table_bits, LENGTH_CODES, MAX_LENGTH_CODE_BITS);
}

/* The symbols up to the last that has a length, at least `least`. */
static uint32_t trimmed(const uint8_t *lengths, uint32_t all, uint32_t least)
{
    while (all > least && lengths[all - 1] == 0) all--;
    return all;
}

/* The order in which the lengths of the third code are sent. */
static const uint8_t table_order[LENGTH_CODES] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

static void write_table(uint32_t literals, uint32_t distances)
{
    uint32_t lengths = LENGTH_CODES;
    while (lengths > 4 && table_bits[table_order[lengths - 1]] == 0) lengths--;
    huffman_codes(table_bits, table_code, LENGTH_CODES);
    put_bits(literals - 257, 5);
    put_bits(distances - 1, 5);
    put_bits(lengths - 4, 4);
    for (uint32_t i = 0; i < lengths; i++) put_bits(table_bits[table_order[i]], 3);
    for (uint32_t i = 0; i < table_symbols; i++) {
        put_bits(table_code[table[i]], table_bits[table[i]]);
        put_bits(table_extra[i], table_extra_bits(table[i]));
        if (i % 16 == 0) frames_serve();
    }
}

static void write_symbols(void)
{
    for (uint32_t i = 0; i < symbols; i++) {
        uint32_t value = symbol[i], distance = symbol_distance[i];
        if (distance == 0) {
            put_bits(literal_code[value], literal_bits[value]);
        } else {
            struct coded coded = length_code(value);
            uint32_t code = FIRST_LENGTH + coded.symbol, bits = literal_bits[code];
            put_bits(literal_code[code] | coded.extra << bits, bits + coded.extra_bits);
            coded = distance_symbol(distance);
            put_bits(distance_code[coded.symbol], distance_bits[coded.symbol]);
            if (coded.extra_bits > 0) put_bits(coded.extra, coded.extra_bits);
        }
        if (i % 16 == 0) frames_serve();
    }
    put_bits(literal_code[END_OF_BLOCK], literal_bits[END_OF_BLOCK]);
}

static void write_stored(const uint8_t *ring, uint32_t ring_mask, uint32_t start, uint32_t bytes)
{
    fill_byte();
    put_bits(bytes, 16);
    put_bits(~bytes & 0xffff, 16);
    for (uint32_t i = 0; i < bytes; i++) {
        frames_put(ring[(start + i) & ring_mask]);
        if (i % 16 == 0) frames_serve();
    }
}

void block_write(uint32_t last, const uint8_t *ring, uint32_t ring_mask, uint32_t start, uint32_t bytes)
{
    literal_count[END_OF_BLOCK] = 1;
    use_fixed_lengths();
    uint32_t fixed = symbols_cost();

    huffman_lengths(literal_count, literal_bits, LITERAL_CODES, MAX_CODE_BITS);
    huffman_lengths(distance_count, distance_bits, DISTANCE_CODES, MAX_CODE_BITS);
    uint32_t literals = trimmed(literal_bits, LITERAL_CODES, 257);
    uint32_t distances = trimmed(distance_bits, DISTANCE_CODES, 1);
    make_table(literals, distances);
    uint32_t dynamic = symbols_cost() + 14 + LENGTH_CODES * 3;
    for (uint32_t i = 0; i < LENGTH_CODES; i++) dynamic += table_count[i] * (table_bits[i] + table_extra_bits(i));

    uint32_t kind = dynamic < fixed ? DYNAMIC : FIXED, best = dynamic < fixed ? dynamic : fixed;
    /* Stored bytes come out of the ring, which must still have them. */
    if (bytes <= HISTORY_BYTES && (bytes + 4) * 8 + 7 < best) kind = STORED;

    put_bits(last | kind << 1, 3);
    if (kind == STORED) {
        write_stored(ring, ring_mask, start, bytes);
    } else {
        if (kind == DYNAMIC) {
            write_table(literals, distances);
        } else {
            use_fixed_lengths();
            literals = FIXED_LITERAL_CODES;
            distances = FIXED_DISTANCE_CODES;
        }
        huffman_codes(literal_bits, literal_code, literals);
        huffman_codes(distance_bits, distance_code, distances);
        write_symbols();
    }
    if (last) fill_byte();
    forget_symbols();
}
