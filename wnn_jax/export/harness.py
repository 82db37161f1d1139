"""The programs around an exported model that run rows and give every score, for this machine and an AVR.

Source: docs/semantics/export.md
"""

# Rows come from a file, and scores go to one, as the machine has them. The tables are read as on this
# machine, also those of a header for an AVR.
HOST = """\
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#define WNN_ROM
#define WNN_RD8(p) (*(p))
#define WNN_RD16(p) (*(p))
#define WNN_RD32(p) (*(p))
#define WNN_RDF(p) (*(p))
#include "model.h"
#if WNN_FEATURES != FEATURES || WNN_SCORES != SCORES || !INPUT
#error "the header is of another model, or of another inputs="
#endif

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(void)
{
    const size_t bytes = (size_t)ROWS * WNN_FEATURES * sizeof(wnn_input);
    wnn_input *rows = malloc(bytes);
    FILE *in = fopen("rows.bin", "rb"), *out = fopen("scores.bin", "wb");
    wnn_score scores[WNN_SCORES];
    double least = 1e9, begun = now();
    volatile double sink = 0;
    long i;
    int k;
    if (!rows || !in || !out || fread(rows, 1, bytes, in) != bytes)
        return 1;
    for (i = 0; i < ROWS; i++) {
        const double found = (double)wnn_predict(rows + i * WNN_FEATURES, scores);
        fwrite(&found, sizeof found, 1, out);
        for (k = 0; k < WNN_SCORES; k++) {
            const double one = (double)scores[k];
            fwrite(&one, sizeof one, 1, out);
        }
    }
    do {
        const double start = now();
        double took;
        for (i = 0; i < ROWS; i++)
            sink = sink + (double)wnn_predict(rows + i * WNN_FEATURES, scores);
        took = now() - start;
        least = took < least ? took : least;
    } while (now() - begun < 0.2);
#ifdef SELFTEST
    if (!wnn_selftest(rows, scores))
        return 2;
#endif
    free(rows);
    printf("%.9g\\n", least / ROWS);
    return fclose(in) | fclose(out);
}
"""

# The rows lie in flash memory. Timer 1 counts cycles; its overflows are counted by an interrupt. A number is
# sent as 8 hexadecimal digits, so that no library prints it.
AVR = """\
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include "model.h"
#if WNN_FEATURES != FEATURES || WNN_SCORES != SCORES || !INPUT
#error "the header is of another model, or of another inputs="
#endif
#include "rows.h"

static volatile uint16_t overflows;
static wnn_input x[WNN_FEATURES];
static wnn_score scores[WNN_SCORES];

ISR(TIMER1_OVF_vect)
{
    overflows++;
}

static void put(char c)
{
    while (!(UCSR0A & _BV(UDRE0))) {}
    UDR0 = c;
}

static void send(uint32_t n)
{
    uint8_t i;
    for (i = 0; i < 8; i++, n <<= 4) {
        const uint8_t digit = (uint8_t)(n >> 28);
        put((char)(digit < 10 ? '0' + digit : 'a' + digit - 10));
    }
    put('\\n');
}

static uint32_t now(void)
{
    uint16_t low, high;
    cli();
    low = TCNT1;
    high = overflows + ((TIFR1 & _BV(TOV1)) && low < 0x8000 ? 1 : 0);
    sei();
    return ((uint32_t)high << 16) | low;
}

int main(void)
{
    const uint8_t *row = rows;
    uint16_t i, k;
    UBRR0 = 0;
    UCSR0B = _BV(TXEN0);
    TIMSK1 = _BV(TOIE1);
    TCCR1B = _BV(CS10);
    for (i = ROWS; i; i--) {
        union {
            float real;
            uint32_t bits;
        } value;
        uint32_t cycles;
        for (k = 0; k < sizeof x; k++, row++)
            ((uint8_t *)x)[k] = pgm_read_byte(row);
        cycles = now();
        value.real = (float)wnn_predict(x, scores);
        cycles = now() - cycles;
        send(cycles);
        send(value.bits);
        for (k = 0; k < WNN_SCORES; k++)
            send((uint32_t)(int32_t)scores[k]);
    }
    cli(); /* a simulator ends where nothing can wake the processor */
    sleep_mode();
    return 0;
}
"""
