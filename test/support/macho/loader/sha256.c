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

static void compress(uint32_t state[8], const uint8_t block[64])
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++) {
        uint32_t v;
        memcpy(&v, block + 4 * i, 4);
        w[i] = __builtin_bswap32(v);
    }
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + w[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t e = s[4], a = s[0];
        uint32_t t1 = s[7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + constants[i] + w[i];
        uint32_t t2 = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}
