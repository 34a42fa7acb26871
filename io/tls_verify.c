/*
 * io/tls_verify.c - whose certificates are taken: authorities, revocation, pins.
 */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "io/internal/tls.h"

/* Base64 of 32 bytes, and a zero byte. */
#define PIN_TEXT 45

static bool is_pinned(char *const *pins, X509 *certificate)
{
	unsigned char *key = NULL, hash[SHA256_DIGEST_LENGTH], text[PIN_TEXT];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key);

	if (len < 0)
		return false;
	SHA256(key, (size_t)len, hash);
	OPENSSL_free(key);
	EVP_EncodeBlock(text, hash, sizeof(hash));
	for (; *pins; pins++)
		if (!strcmp(*pins, (const char *)text))
			return true;
	return false;
}

static bool has_pinned(char *const *pins, STACK_OF(X509) * chain)
{
	for (int i = 0; i < sk_X509_num(chain); i++)
		if (is_pinned(pins, sk_X509_value(chain, i)))
			return true;
	return false;
}

static bool is_trusting(const struct torc_tls *tls)
{
	return tls->options.verify == TORC_TLS_VERIFY_NONE;
}

/*
 * In place of OpenSSL's own, which it calls. Without verification there is no chain to go by but what the peer has proved
 * to be its own: the first certificate.
 */
static int verify(X509_STORE_CTX *store, void *arg)
{
	struct torc_tls *tls = arg;
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	int r = is_trusting(tls) ? 1 : X509_verify_cert(store);

	if (r <= 0 || !tls->names.pins)
		return r;
	if (is_trusting(tls) ? is_pinned(tls->names.pins, X509_STORE_CTX_get0_cert(store))
			     : has_pinned(tls->names.pins, X509_STORE_CTX_get0_chain(store)))
		return 1;
	torc__tls_of(ssl)->unpinned = true;
	X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

static int mode_of(const struct torc_tls *tls)
{
	bool trusts = tls->names.ca_file || tls->names.ca_path;
	enum torc_tls_verify v = tls->options.verify;

	if (v == TORC_TLS_VERIFY_DEFAULT)
		v = !tls->server || trusts ? TORC_TLS_VERIFY_REQUIRE : TORC_TLS_VERIFY_NONE;
	if (v == TORC_TLS_VERIFY_NONE)
		return tls->names.pins ? SSL_VERIFY_PEER : SSL_VERIFY_NONE;
	return v == TORC_TLS_VERIFY_REQUIRE ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
					    : SSL_VERIFY_PEER;
}

void torc__tls_verify_use(struct torc_tls *tls, SSL_CTX *context)
{
	SSL_CTX_set_verify(context, mode_of(tls), NULL);
	SSL_CTX_set_cert_verify_callback(context, verify, tls);
}
