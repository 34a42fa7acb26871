/*
 * core/switch_aarch64.S - the first instructions of every fiber and generator.
 *
 *	in:	x1	the context that was switched to, first member of its fiber or generator
 *		sp	aligned to 16 bytes, the empty stack
 *		x29	0: frame-pointer walks end here
 *
 * The return address is undefined: DWARF walks end here too. Why a branch and no call: see switch_x86_64.S.
 */
#if defined(__aarch64__)
#include "core/internal/switch.h"

	.text

	.globl	torc__switch_entry
	.hidden	torc__switch_entry
	.type	torc__switch_entry, %function
torc__switch_entry:
	.cfi_startproc
	.cfi_undefined x30
	hint	#36			/* bti j */
	mov	x0, x1
	adr	x30, 1f
	b	torc__fiber_main
	nop
1:	brk	#1
	.cfi_endproc
	.size	torc__switch_entry, .-torc__switch_entry

	.globl	torc__gen_entry
	.hidden	torc__gen_entry
	.type	torc__gen_entry, %function
torc__gen_entry:
	.cfi_startproc
	.cfi_undefined x30
	hint	#36			/* bti j */
	str	x1, [sp, #-16]!
	mov	x0, x1
	bl	torc__gen_begin
	ldr	x0, [sp]
	ldr	x1, [x0, #TORC__GEN_ARG]
	ldr	x16, [x0, #TORC__GEN_FN]
	adr	x30, 1f
	br	x16
	nop
1:	mov	w1, w0
	ldr	x0, [sp], #16
	bl	3f
2:	brk	#1
3:	b	torc__gen_end
	.cfi_endproc
	.size	torc__gen_entry, .-torc__gen_entry
#endif
	.section .note.GNU-stack, "", %progbits
