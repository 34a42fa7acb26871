/*
 * core/switch_x86_64.S - the first instruction of every fiber.
 *
 *	in:	rsi	the context that was switched to, first member of its fiber
 *		rsp	aligned to 16 bytes, the fiber's empty stack
 *		rbp	0: frame-pointer walks end here
 *
 * The return address is undefined: DWARF walks end here too.
 *
 * torc__fiber_main never returns: it is entered by a jump, with a return address that only backtraces read
 * (they look one byte before it, hence the nop). A call would leave the processor's stack of predicted
 * returns one entry too deep, and mispredict the returns of whoever runs after the fiber: 15 ns per spawn.
 */
#if defined(__x86_64__)
	.text
	.globl	torc__switch_entry
	.hidden	torc__switch_entry
	.type	torc__switch_entry, @function
torc__switch_entry:
	.cfi_startproc
	.cfi_undefined rip
	endbr64
	movq	%rsi, %rdi
	leaq	1f(%rip), %rax
	pushq	%rax
	jmp	torc__fiber_main
	nop
1:	ud2
	.cfi_endproc
	.size	torc__switch_entry, .-torc__switch_entry

#ifdef __CET__
	.section .note.gnu.property, "a"
	.balign	8
	.long	4, 16, 5
	.asciz	"GNU"
	.long	0xc0000002, 4, 3, 0
#endif
#endif
	.section .note.GNU-stack, "", %progbits
