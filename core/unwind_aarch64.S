/*
 * core/unwind_aarch64.S - walk the stack of a context that is not running; see unwind_x86_64.S.
 *
 *	in:	x0	the context
 *		x1	called with each frame
 *		x2	its argument
 *
 *	the caller's sp (the CFA)	is	context->sp	the 8 bytes at x19
 *	the caller's x29		is at	&context->fp	x19 + 8
 *	the return address (x30)	is at	&context->pc	x19 + 16
 */
#if defined(__aarch64__)
	.text
	.globl	torc__unwind_from
	.hidden	torc__unwind_from
	.type	torc__unwind_from, %function
torc__unwind_from:
	.cfi_startproc
	.cfi_signal_frame
	hint	#34				/* bti c */
	stp	x29, x30, [sp, #-32]!
	.cfi_adjust_cfa_offset 32
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	str	x19, [sp, #16]
	.cfi_rel_offset x19, 16
	mov	x29, sp
	mov	x19, x0
	.cfi_remember_state
	.cfi_escape 0x0f, 3, 0x83, 0, 0x06	/* DW_CFA_def_cfa_expression: breg19 + 0, deref */
	.cfi_escape 0x10, 29, 2, 0x83, 8	/* DW_CFA_expression: x29 at breg19 + 8 */
	.cfi_escape 0x10, 30, 2, 0x83, 16	/* DW_CFA_expression: x30 at breg19 + 16 */
	.cfi_undefined x19
	mov	x0, x1
	mov	x1, x2
	bl	_Unwind_Backtrace
	nop
	.cfi_restore_state
	ldr	x19, [sp, #16]
	ldp	x29, x30, [sp], #32
	.cfi_adjust_cfa_offset -32
	.cfi_restore x19
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc
	.size	torc__unwind_from, .-torc__unwind_from
#endif
	.section .note.GNU-stack, "", %progbits
