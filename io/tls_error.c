/*
 * io/tls_error.c - OpenSSL's reasons, as numbers and as text.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>

#include "io/internal/tls.h"

static int of_verification(long verify)
{
	switch (verify) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_CRL_NOT_YET_VALID: return -EKEYEXPIRED;
	case X509_V_ERR_CERT_REVOKED: return -EKEYREVOKED;
	default: return -EKEYREJECTED;
	}
}

static int of_reason(const struct torc__tls *t)
{
	if (ERR_GET_LIB(t->reason) != ERR_LIB_SSL)
		return ERR_GET_REASON(t->reason) == ERR_R_MALLOC_FAILURE ? -ENOMEM : -EPROTO;
	switch (ERR_GET_REASON(t->reason)) {
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return t->unpinned ? -EKEYREJECTED : of_verification(t->verify);
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return -EKEYREJECTED;
	case SSL_R_UNEXPECTED_EOF_WHILE_READING: return -ECONNABORTED;
	case ERR_R_MALLOC_FAILURE: return -ENOMEM;
	default: return -EPROTO;
	}
}

/* The first failure is the one that tells: what follows it is that it has failed, and our own has no reason of OpenSSL's. */
int torc__tls_failed(struct torc__tls *t)
{
	if (!t->error) {
		t->reason = ERR_peek_error();
		t->verify = SSL_get_verify_result(t->ssl);
		t->error = of_reason(t);
	}
	ERR_clear_error();
	return t->error;
}

void torc__tls_reason(char *text, const char *what, unsigned long reason)
{
	const char *said = ERR_SYSTEM_ERROR(reason) ? strerror(ERR_GET_REASON(reason))
						    : ERR_reason_error_string(reason);

	snprintf(text, TORC_TLS_WHY_MAX, "%s: %s", what, said ? said : "unknown reason");
}

static const char *detail(const struct torc__tls *t)
{
	if (t->unpinned)
		return "no certificate of the chain has a pinned key";
	return X509_verify_cert_error_string(t->verify);
}

static bool is_of_verification(const struct torc__tls *t)
{
	return ERR_GET_LIB(t->reason) == ERR_LIB_SSL &&
	       ERR_GET_REASON(t->reason) == SSL_R_CERTIFICATE_VERIFY_FAILED;
}

char *torc_tls_why(const struct torc_stream *s, char *text)
{
	const struct torc__tls *t = s->tls;
	const char *said;
	int len;

	*text = '\0';
	if (!t || !t->error)
		return text;
	said = t->reason ? ERR_reason_error_string(t->reason) : strerror(-t->error);
	len = snprintf(text, TORC_TLS_WHY_MAX, "%s%s%s: %s", t->host,
		       *t->host && *t->peer ? " at " : "", t->peer, said ? said : "unknown reason");
	if (is_of_verification(t) && len < TORC_TLS_WHY_MAX)
		snprintf(text + len, TORC_TLS_WHY_MAX - (size_t)len, ": %s", detail(t));
	return text;
}
