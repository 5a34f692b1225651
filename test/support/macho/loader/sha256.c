/* SHA-256, FIPS 180-4. The round constants are computed: the cube roots of the first 64 primes. */
#include "loader.h"
#include <string.h>

static uint32_t constants[64], initial[8];

static uint32_t fraction_of_root(unsigned prime, unsigned power);
static void make_constants(void);
static void compress(uint32_t state[8], const uint8_t block[64]);

void sha256(const uint8_t *bytes, size_t size, uint8_t digest[32])
{
    if (constants[0] == 0) make_constants();
    uint32_t state[8];
    uint8_t last[128] = {0};
    memcpy(state, initial, sizeof state);
    size_t whole = size / 64 * 64, rest = size - whole, padded = rest < 56 ? 64 : 128;
    for (size_t at = 0; at < whole; at += 64) compress(state, bytes + at);
    memcpy(last, bytes + whole, rest);
    last[rest] = 0x80;
    for (int i = 0; i < 8; i++) last[padded - 1 - i] = (uint64_t)size * 8 >> 8 * i;
    for (size_t at = 0; at < padded; at += 64) compress(state, last + at);
    for (int i = 0; i < 32; i++) digest[i] = state[i / 4] >> (24 - i % 4 * 8);
}

static void make_constants(void)
{
    for (unsigned prime = 2, found = 0; found < 64; prime++) {
        bool divisible = false;
        for (unsigned d = 2; d * d <= prime; d++) divisible |= prime % d == 0;
        if (divisible) continue;
        if (found < 8) initial[found] = fraction_of_root(prime, 2);
        constants[found++] = fraction_of_root(prime, 3);
    }
}

/* The first 32 bits behind the point: the largest x with (x / 2^32)^power <= prime, found bit by bit. */
static uint32_t fraction_of_root(unsigned prime, unsigned power)
{
    uint64_t x = 0;
    for (int bit = 36; bit >= 0; bit--) {
        unsigned __int128 y = x | 1ull << bit, whole = (unsigned __int128)prime << 32 * power;
        if ((power == 2 ? y * y : y * y * y) <= whole) x = y;
    }
    return (uint32_t)x;
}

static uint32_t turn(uint32_t v, int n) { return v >> n | v << (32 - n); }

/* One round; the eight words change places by the order in which they are named. */
#define ROUND(a, b, c, d, e, f, g, h, i) \
    do { \
        uint32_t t = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + constants[i] + w[i]; \
        d += t; \
        h = t + (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c)); \
    } while (0)

static void compress(uint32_t state[8], const uint8_t block[64])
{
    uint32_t w[64], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6],
                    h = state[7];
    for (int i = 0; i < 16; i++) {
        uint32_t v;
        memcpy(&v, block + 4 * i, 4);
        w[i] = __builtin_bswap32(v);
    }
    for (int i = 16; i < 64; i++) {
        uint32_t before = w[i - 15], last = w[i - 2];
        w[i] = w[i - 16] + (turn(before, 7) ^ turn(before, 18) ^ before >> 3) + w[i - 7] +
               (turn(last, 17) ^ turn(last, 19) ^ last >> 10);
    }
    for (int i = 0; i < 64; i += 8) {
        ROUND(a, b, c, d, e, f, g, h, i);
        ROUND(h, a, b, c, d, e, f, g, i + 1);
        ROUND(g, h, a, b, c, d, e, f, i + 2);
        ROUND(f, g, h, a, b, c, d, e, i + 3);
        ROUND(e, f, g, h, a, b, c, d, i + 4);
        ROUND(d, e, f, g, h, a, b, c, i + 5);
        ROUND(c, d, e, f, g, h, a, b, i + 6);
        ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}
