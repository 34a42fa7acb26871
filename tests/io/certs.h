/*
 * tests/io/certs.h - certificates and keys, made for a test and gone with it.
 */
#ifndef TESTS_IO_CERTS_H
#define TESTS_IO_CERTS_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/check.h"

/* What is wanted; zeroed means an elliptic key and good dates. */
struct cert_wish {
	const char *subject; /* common name */
	const char *names;   /* "DNS:a.test,IP:127.0.0.1", or NULL */
	unsigned rsa_bits;   /* 0: P-256 */
	bool ed25519;        /* whose signatures are all of one length */
	long from_s, to_s;   /* seconds from now; 0, 0: an hour around it */
	bool authority;
};

/* Its files, and what is needed to sign others. */
struct cert {
	EVP_PKEY *key;
	X509 *x509;
	char cert_file[64], key_file[64];
};

struct certs {
	char directory[32];
	unsigned count;
};

static inline void certs_open(struct certs *all)
{
	*all = (struct certs){ .directory = "/tmp/torc-certs-XXXXXX" };
	check(mkdtemp(all->directory));
}

static inline void cert_extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *e;

	X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	check(e);
	check_eq(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

static inline void cert_write(const struct certs *all, struct cert *c, const char *name, unsigned n)
{
	FILE *f;

	snprintf(c->cert_file, sizeof(c->cert_file), "%s/%u-%s.pem", all->directory, n, name);
	snprintf(c->key_file, sizeof(c->key_file), "%s/%u-%s.key", all->directory, n, name);
	f = fopen(c->cert_file, "w");
	check(f);
	check_eq(PEM_write_X509(f, c->x509), 1);
	fclose(f);
	f = fopen(c->key_file, "w");
	check(f);
	check_eq(PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
}

static inline int cert_sign(X509 *x509, EVP_PKEY *key)
{
	bool hashes = EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519;

	return X509_sign(x509, key, hashes ? EVP_sha256() : NULL);
}

/* issuer NULL: signed by itself. */
static inline struct cert cert_make(struct certs *all, const struct cert *issuer,
				    struct cert_wish wish)
{
	unsigned n = ++all->count;
	struct cert c = { .x509 = X509_new() };
	X509_NAME *name = X509_get_subject_name(c.x509);
	X509 *signer = issuer ? issuer->x509 : c.x509;

	c.key = wish.ed25519    ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
		: wish.rsa_bits ? EVP_RSA_gen(wish.rsa_bits)
				: EVP_EC_gen("P-256");
	check(c.key);
	check_eq(X509_set_version(c.x509, 2), 1);
	check_eq(ASN1_INTEGER_set(X509_get_serialNumber(c.x509), (long)n), 1);
	X509_gmtime_adj(X509_getm_notBefore(c.x509),
			wish.from_s || wish.to_s ? wish.from_s : -3600);
	X509_gmtime_adj(X509_getm_notAfter(c.x509), wish.from_s || wish.to_s ? wish.to_s : 3600);
	check_eq(X509_set_pubkey(c.x509, c.key), 1);
	check_eq(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					    (const unsigned char *)wish.subject, -1, -1, 0),
		 1);
	check_eq(X509_set_issuer_name(c.x509, X509_get_subject_name(signer)), 1);
	cert_extend(c.x509, signer, NID_basic_constraints,
		    wish.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
	cert_extend(c.x509, signer, NID_key_usage,
		    wish.authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
	cert_extend(c.x509, signer, NID_subject_key_identifier, "hash");
	cert_extend(c.x509, signer, NID_authority_key_identifier, "keyid");
	if (wish.names)
		cert_extend(c.x509, signer, NID_subject_alt_name, wish.names);
	check(cert_sign(c.x509, issuer ? issuer->key : c.key) > 0);
	cert_write(all, &c, wish.authority ? "authority" : "leaf", n);
	return c;
}

/* An authority and a certificate of it for one name, both with signatures that are all of one length. */
static inline void certs_make_even(struct certs *all, const char *host, struct cert *ret_authority,
				   struct cert *ret_leaf)
{
	char names[64];

	snprintf(names, sizeof(names), "DNS:%s", host);
	*ret_authority =
		cert_make(all, NULL,
			  (struct cert_wish){
				  .subject = "authority", .authority = true, .ed25519 = true });
	*ret_leaf =
		cert_make(all, ret_authority,
			  (struct cert_wish){ .subject = host, .names = names, .ed25519 = true });
}

/* The list of what an authority has revoked: one certificate, or none for NULL. */
static inline void cert_revoke(const struct cert *authority, const struct cert *which,
			       const char *path)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *time = ASN1_TIME_new();
	FILE *f = fopen(path, "w");

	check(f);
	check_eq(X509_CRL_set_version(crl, 1), 1);
	check_eq(X509_CRL_set_issuer_name(crl, X509_get_subject_name(authority->x509)), 1);
	X509_gmtime_adj(time, -3600);
	check_eq(X509_CRL_set1_lastUpdate(crl, time), 1);
	if (which) {
		X509_REVOKED *r = X509_REVOKED_new();

		check_eq(X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(which->x509)), 1);
		check_eq(X509_REVOKED_set_revocationDate(r, time), 1);
		check_eq(X509_CRL_add0_revoked(crl, r), 1);
	}
	X509_gmtime_adj(time, 3600);
	check_eq(X509_CRL_set1_nextUpdate(crl, time), 1);
	check(X509_CRL_sign(crl, authority->key, EVP_sha256()) > 0);
	check_eq(PEM_write_X509_CRL(f, crl), 1);
	fclose(f);
	ASN1_TIME_free(time);
	X509_CRL_free(crl);
}

static inline void cert_free(struct cert *c)
{
	X509_free(c->x509);
	EVP_PKEY_free(c->key);
	unlink(c->cert_file);
	unlink(c->key_file);
}

static inline void certs_close(struct certs *all)
{
	check_eq(rmdir(all->directory), 0);
}

#endif
