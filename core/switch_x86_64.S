/*
 * core/switch_x86_64.S - the first instructions of every fiber and generator.
 *
 *	in:	rsi	the context that was switched to, first member of its fiber or generator
 *		rsp	aligned to 16 bytes, the empty stack
 *		rbp	0: frame-pointer walks end here
 *
 * The return address is undefined: DWARF walks end here too.
 *
 * The main function never returns: it is entered by a jump, with a return address that only backtraces read
 * (they look one byte before it, hence the nop). A call would leave the processor's stack of predicted
 * returns one entry too deep, and mispredict the returns of whoever runs after the fiber: 15 ns per spawn.
 */
#if defined(__x86_64__)
#include "core/internal/switch.h"

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

/*
 * A generator's body is entered by a jump for the same reason: its first yield leaves before it has returned. When
 * it returns at last, the return takes a prediction that belongs to who resumed it then; the call that never returns
 * puts one back, so that one return is mispredicted and not all that follow.
 */
	.globl	torc__gen_entry
	.hidden	torc__gen_entry
	.type	torc__gen_entry, @function
torc__gen_entry:
	.cfi_startproc
	.cfi_undefined rip
	endbr64
	pushq	%rsi
	pushq	%rsi
	movq	%rsi, %rdi
	call	torc__gen_begin
	movq	(%rsp), %rdi
	movq	TORC__GEN_ARG(%rdi), %rsi
	leaq	1f(%rip), %rax
	pushq	%rax
	jmpq	*TORC__GEN_FN(%rdi)
	nop
1:	popq	%rdi
	movl	%eax, %esi
	call	3f
2:	ud2
3:	leaq	2b(%rip), %rax
	addq	$8, %rsp
	movq	%rax, (%rsp)
	jmp	torc__gen_end
	.cfi_endproc
	.size	torc__gen_entry, .-torc__gen_entry

#ifdef __CET__
	/* Indirect branch tracking only: a switch leaves a shadow stack behind, so no program may turn that on. */
	.section .note.gnu.property, "a"
	.balign	8
	.long	4, 16, 5
	.asciz	"GNU"
	.long	0xc0000002, 4, 1, 0
#endif
#endif
	.section .note.GNU-stack, "", %progbits
