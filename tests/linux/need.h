/* Calls that have to succeed, for programs of one purpose: each says in its own way what did not. */
#pragma once

/* Says what failed and why, and ends. */
_Noreturn void fail(const char *what);

/* The value of a call that has to succeed. */
#define NEED(call)								\
	({									\
		long value_ = (long)(call);					\
		if (value_ == -1)						\
			fail(#call);						\
		value_;								\
	})
