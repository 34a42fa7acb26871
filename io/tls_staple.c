/*
 * io/tls_staple.c - what an authority says of a server's certificate, shown to clients that ask (RFC 6066, 8: OCSP stapling).
 *
 * It belongs to the context, and so ends with the set that the file was read for.
 */
#include <openssl/ocsp.h>

#include "io/internal/tls.h"

static int on_request(SSL *ssl, void *arg)
{
	const ASN1_OCTET_STRING *staple = arg;
	int len = ASN1_STRING_length(staple);
	unsigned char *copy = OPENSSL_memdup(ASN1_STRING_get0_data(staple), (size_t)len);

	if (!copy)
		return SSL_TLSEXT_ERR_NOACK;             /* it is asked for, and not needed */
	SSL_set_tlsext_status_ocsp_resp(ssl, copy, len); /* whose it is now */
	return SSL_TLSEXT_ERR_OK;
}

static int encode(OCSP_RESPONSE *response, ASN1_OCTET_STRING *staple)
{
	unsigned char *der = NULL;
	int len = i2d_OCSP_RESPONSE(response, &der);

	if (len < 0)
		return 0;
	ASN1_STRING_set0(staple, der, len);
	return 1;
}

/* Not what an authority answers that has no answer: "try later" is of no use to a client. */
static bool is_answer(OCSP_RESPONSE *response)
{
	return response && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL;
}

bool torc__tls_staple_use(SSL_CTX *context, const char *path)
{
	BIO *file = BIO_new_file(path, "rb");
	OCSP_RESPONSE *response = file ? d2i_OCSP_RESPONSE_bio(file, NULL) : NULL;
	ASN1_OCTET_STRING *staple = ASN1_OCTET_STRING_new();
	bool good = staple && is_answer(response) && encode(response, staple);

	OCSP_RESPONSE_free(response);
	BIO_free(file);
	if (!good) {
		ASN1_OCTET_STRING_free(staple);
		return false;
	}
	SSL_CTX_set_tlsext_status_cb(context, on_request);
	SSL_CTX_set_tlsext_status_arg(context, staple);
	return true;
}

void torc__tls_staple_drop(SSL_CTX *context)
{
	void *staple = NULL;

	SSL_CTX_get_tlsext_status_arg(context, &staple);
	ASN1_OCTET_STRING_free(staple);
	SSL_CTX_set_tlsext_status_arg(context, NULL);
}
