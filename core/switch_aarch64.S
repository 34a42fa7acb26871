/*
 * core/switch_aarch64.S - the first instruction of every fiber.
 *
 *	in:	x1	the context that was switched to, first member of its fiber
 *		sp	aligned to 16 bytes, the fiber's empty stack
 *		x29	0: frame-pointer walks end here
 *
 * The return address is undefined: DWARF walks end here too. Why a branch and no call: see switch_x86_64.S.
 */
#if defined(__aarch64__)
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
#endif
	.section .note.GNU-stack, "", %progbits
