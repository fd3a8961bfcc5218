/* What the measuring program (main.c) measures (operations.c). */
#pragma once

#include <stddef.h>

#include "need.h"

static inline unsigned long timebase(void)
{
	unsigned long ticks;

	__asm__ volatile("mfspr %0, 268" : "=r"(ticks) : : "memory");
	return ticks;
}

struct operation {
	const char *name;
	unsigned long times;		/* in a round */
	void (*once)(void);
	void (*answer)(void);		/* meanwhile, for ever, by another process */
	void *(*beside)(void *);	/* the same by another thread */
	unsigned long (*round)(void);	/* the ticks of a round that takes its time itself */
};

/* The operations, up to one without a name. */
extern const struct operation operations[];

/* Does what they need; the path is this program's. */
void prepare(const char *path);

/* The one that not every kernel offers. */
void getppid_scv(void);
