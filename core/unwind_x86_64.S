/*
 * core/unwind_x86_64.S - walk the stack of a context that is not running.
 *
 *	void torc__unwind_from(const struct torc__context *context, _Unwind_Trace_Fn step, void *arg)
 *
 *	in:	rdi	the context
 *		rsi	called with each frame
 *		rdx	its argument
 *
 * Calls _Unwind_Backtrace(step, arg). The first frame of it is this function, the second where the context
 * will go on: from `movq %rdi, %rbx` on, the unwind information below says that
 *
 *	the caller's rsp (the CFA)	is	context->sp	the 8 bytes at rbx
 *	the caller's rbp		is at	&context->fp	rbx + 8
 *	the return address		is at	&context->pc	rbx + 16
 *
 * rbx is callee-saved, so the unwinder knows its value here. The other callee-saved registers hold nothing
 * of the context: torc__switch has its caller save what it needs. A signal frame, because the address is that
 * of the next instruction, not one behind a call: for a fiber that has never run it is the first of a function.
 */
#if defined(__x86_64__)
	.text
	.globl	torc__unwind_from
	.hidden	torc__unwind_from
	.type	torc__unwind_from, @function
torc__unwind_from:
	.cfi_startproc
	.cfi_signal_frame
	endbr64
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	movq	%rdi, %rbx
	.cfi_remember_state
	.cfi_escape 0x0f, 3, 0x73, 0, 0x06	/* DW_CFA_def_cfa_expression: breg3 (rbx) + 0, deref */
	.cfi_escape 0x10, 6, 2, 0x73, 8		/* DW_CFA_expression: rbp at breg3 + 8 */
	.cfi_escape 0x10, 16, 2, 0x73, 16	/* DW_CFA_expression: rip at breg3 + 16 */
	.cfi_undefined rbx
	.cfi_undefined r12
	.cfi_undefined r13
	.cfi_undefined r14
	.cfi_undefined r15
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	call	_Unwind_Backtrace@PLT
	nop
	.cfi_restore_state
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	ret
	.cfi_endproc
	.size	torc__unwind_from, .-torc__unwind_from

#ifdef __CET__
	.section .note.gnu.property, "a"
	.balign	8
	.long	4, 16, 5
	.asciz	"GNU"
	.long	0xc0000002, 4, 3, 0
#endif
#endif
	.section .note.GNU-stack, "", %progbits
