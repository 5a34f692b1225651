/* Threads that work by turns: mutexes, condition variables, barriers, malloc, stdio; always the same output. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 3, ROUNDS = 240 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static int turn;
static unsigned long total;

static unsigned long churn(unsigned long seed)
{
    char *blocks[32] = { 0 };
    for (int i = 0; i < 400; i++) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        char **block = &blocks[seed >> 59];
        size_t size = (seed >> 40) % 3000 + 1;
        *block = realloc(*block, size);
        memset(*block, (int)(seed >> 33), size);
        seed ^= (unsigned char)(*block)[size / 2];
    }
    for (int i = 0; i < 32; i++)
        free(blocks[i]);
    return seed;
}

static void *short_lived(void *seed) { return (void *)churn((unsigned long)seed); }

static void *work(void *arg)
{
    int self = (int)(long)arg;
    for (int round = 0; round < ROUNDS; round++) {
        unsigned long mine = churn((unsigned long)(round * THREADS + self));
        double root = 1.0 / (double)(mine | 1) + self;
        pthread_mutex_lock(&lock);
        while (turn != self)
            pthread_cond_wait(&turned, &lock);
        total = total * 31 + mine;
        printf("round %d thread %d %016lx %.17g\n", round, self, total, root);
        turn = (turn + 1) % THREADS;
        pthread_cond_broadcast(&turned);
        pthread_mutex_unlock(&lock);
        if (round % 20 == 6 * self) {
            pthread_t other;
            void *result;
            pthread_create(&other, NULL, short_lived, (void *)mine);
            pthread_join(other, &result);
            pthread_mutex_lock(&lock);
            fflush(stdout);
            pthread_mutex_unlock(&lock);
            if ((unsigned long)result != churn(mine))
                printf("thread %d: a thread of its own found something else\n", self);
        }
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("total %016lx\n", total);
    return (int)(total & 63);
}
