/* Instructions by which programs tell the plug-in (coherence.c) what to count: `xori rN, rN, 0`, which
 * does nothing and which no compiler makes. Begin takes a name in r3, its eight characters in memory's
 * order; end takes the number of operations in r3. */
#pragma once

#define MARK_BEGIN	0x6ab50000	/* xori 21, 21, 0 */
#define MARK_END	0x6ad60000	/* xori 22, 22, 0 */
