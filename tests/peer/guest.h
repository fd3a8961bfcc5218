/* What the peer's guests (guest.S) and their user space agree on. */

/* Hypercalls that the kernel answers. */
#define H_CEDE		0xe0
#define H_CONFER	0xe4
#define H_PROD		0xe8

/* Hypercalls of nobody's, which therefore reach user space. */
#define H_DONE		0x7f00		/* the program is over */
#define H_SIGNAL	0x7f04		/* signal the other guest */
#define H_WAIT		0x7f08		/* wait for the other guest's signal */
#define H_EXCHANGE	0x7f0c		/* both, one after the other */

/* The guest real address where a program leaves what it measured, in ticks. */
#define RESULT		0x10000
