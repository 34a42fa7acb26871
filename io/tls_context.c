/*
 * io/tls_context.c - the configuration: options, and the sets of contexts that are made from its files.
 *
 * A set is what OpenSSL has read, one context per certificate; a handshake takes the present one, and a reload replaces it while
 * older handshakes and connections keep theirs.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <torc/core/fiber.h>
#include <torc/executor/offload.h>

#include "core/internal/system.h"
#include "io/internal/tls.h"

#define HANDSHAKES_MAX 1024

/* Mozilla's "intermediate" for TLS 1.2, without what needs finite-field Diffie-Hellman. */
#define CIPHERS                                                                                \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-"    \
	"SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-" \
	"POLY1305"
/* And for 1.3: 128 bits are as good, and cheaper. */
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

/* What is being made, and where to say why it cannot be. */
struct making {
	struct torc_tls *tls;
	struct torc__tls_set *set;
	char *why;
};

static int fail(const struct making *m, const char *what, int error)
{
	if (m->why)
		snprintf(m->why, TORC_TLS_WHY_MAX, "%s: %s", what, strerror(-error));
	return error;
}

/* By OpenSSL's first reason, which is the deepest. */
static int fail_by_reason(const struct making *m, const char *what)
{
	unsigned long reason = ERR_peek_error();
	char text[TORC_TLS_WHY_MAX];
	bool no_memory = ERR_GET_REASON(reason) == ERR_R_MALLOC_FAILURE;

	ERR_clear_error();
	torc__tls_reason(text, what, reason);
	if (m->why)
		memcpy(m->why, text, sizeof(text));
	return no_memory ? -ENOMEM : -EINVAL;
}

/* OpenSSL's own text would not say which of the two errors it is. */
static int readable(const struct making *m, const char *path)
{
	return access(path, R_OK) < 0 ? fail(m, path, -errno) : 0;
}

/* --- one context --- */

/* OpenSSL would ask the terminal, and a server that reads its files again would wait for an answer. */
static int no_password(char *buf, int size, int writing, void *arg)
{
	(void)buf, (void)size, (void)writing, (void)arg;
	return -1;
}

/* OpenSSL's words for it are "no certificate assigned", or of a decoder that has not found what it knows. */
static int fail_by_key(const struct making *m, const char *path)
{
	unsigned long reason = ERR_peek_error();
	bool other = ERR_GET_LIB(reason) == ERR_LIB_X509 ||
		     (ERR_GET_LIB(reason) == ERR_LIB_SSL &&
		      ERR_GET_REASON(reason) == SSL_R_NO_CERTIFICATE_ASSIGNED);
	int r = fail_by_reason(m, path);

	if (r == -EINVAL && m->why)
		snprintf(m->why, TORC_TLS_WHY_MAX, "%s: %s", path,
			 other ? "does not belong to the certificate"
			       : "no private key, or one with a password");
	return r;
}

static int load_certificate(const struct making *m, SSL_CTX *context,
			    const struct torc_tls_certificate *c)
{
	const char *key = c->key_file ? c->key_file : c->cert_file;
	int r = readable(m, c->cert_file);

	if (!r)
		r = readable(m, key);
	if (r < 0)
		return r;
	if (SSL_CTX_use_certificate_chain_file(context, c->cert_file) != 1)
		return fail_by_reason(m, c->cert_file);
	SSL_CTX_set_default_passwd_cb(context, no_password);
	if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(context) != 1)
		return fail_by_key(m, key);
	return 0;
}

static int load_staple(const struct making *m, SSL_CTX *context, const char *path)
{
	int r = path ? readable(m, path) : 0;

	if (r < 0 || !path || torc__tls_staple_use(context, path))
		return r;
	if (ERR_peek_error())
		return fail_by_reason(m, path);
	if (m->why)
		snprintf(m->why, TORC_TLS_WHY_MAX, "%s: not a successful OCSP response", path);
	return -EINVAL;
}

static int load_revocations(const struct making *m, SSL_CTX *context)
{
	const char *path = m->tls->names.crl_file;
	X509_STORE *store = SSL_CTX_get_cert_store(context);
	X509_LOOKUP *lookup;
	int r = readable(m, path);

	if (r < 0)
		return r;
	lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
	if (!lookup || X509_load_crl_file(lookup, path, X509_FILETYPE_PEM) < 1)
		return fail_by_reason(m, path);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return 0;
}

static int load_authorities(const struct making *m, SSL_CTX *context)
{
	const char *file = m->tls->names.ca_file, *path = m->tls->names.ca_path;
	int r = file ? readable(m, file) : 0;

	if (!r && path)
		r = readable(m, path);
	if (r < 0)
		return r;
	if (file && SSL_CTX_load_verify_file(context, file) != 1)
		return fail_by_reason(m, file);
	if (path && SSL_CTX_load_verify_dir(context, path) != 1)
		return fail_by_reason(m, path);
	if (!file && !path && !m->tls->server && SSL_CTX_set_default_verify_paths(context) != 1)
		return fail_by_reason(m, "the system's authorities");
	/* What a client is told whose certificates would do. */
	if (file && m->tls->server)
		SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(file));
	return m->tls->names.crl_file ? load_revocations(m, context) : 0;
}

/* RFC 7301, 3.2: nothing in common ends the handshake. */
static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
			   const unsigned char *theirs, unsigned theirs_len, void *arg)
{
	const struct torc__tls_names *names = &((struct torc_tls *)arg)->names;
	unsigned char *found;

	(void)ssl;
	if (SSL_select_next_proto(&found, ret_len, names->alpn, names->alpn_bytes, theirs,
				  theirs_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*ret = found;
	return SSL_TLSEXT_ERR_OK;
}

static void use_protocols(struct torc_tls *tls, SSL_CTX *context)
{
	if (!tls->names.alpn)
		return;
	if (tls->server)
		SSL_CTX_set_alpn_select_cb(context, choose_protocol, tls);
	else
		SSL_CTX_set_alpn_protos(context, tls->names.alpn, tls->names.alpn_bytes);
}

static bool has_name(SSL_CTX *context, const char *name)
{
	X509 *certificate = SSL_CTX_get0_certificate(context);

	return certificate && X509_check_host(certificate, name, 0, 0, NULL) == 1;
}

/* RFC 6066, 3: a name that nobody knows gets the first. */
static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
	const struct torc__tls_set *set = torc__tls_of(ssl)->set;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert, (void)arg;
	for (size_t i = 0; name && i < set->count; i++) {
		if (has_name(set->contexts[i], name)) {
			SSL_set_SSL_CTX(ssl, set->contexts[i]);
			break;
		}
	}
	return name ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static int set_policy(const struct making *m, SSL_CTX *context)
{
	int least = m->tls->options.min_version == 13 ? TLS1_3_VERSION : TLS1_2_VERSION;
	int most = m->tls->options.max_version == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;

	/* Our order, but who has no instructions for AES and therefore wants ChaCha first gets it. */
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					     SSL_OP_CIPHER_SERVER_PREFERENCE |
					     SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_security_level(context, 2);
	SSL_CTX_set_max_early_data(context, 0); /* OpenSSL's default too; why: io/tls.h */
	SSL_CTX_set_read_ahead(context, 1);
	if (SSL_CTX_set_min_proto_version(context, least) != 1 ||
	    SSL_CTX_set_max_proto_version(context, most) != 1 ||
	    SSL_CTX_set_cipher_list(context, CIPHERS) != 1 ||
	    SSL_CTX_set_ciphersuites(context, SUITES) != 1 ||
	    SSL_CTX_set1_groups_list(context, GROUPS) != 1)
		return fail_by_reason(m, "the defaults");
	return 0;
}

static int fill(const struct making *m, SSL_CTX *context, const struct torc_tls_certificate *c)
{
	int r = set_policy(m, context);

	if (!r && c)
		r = load_certificate(m, context, c);
	if (!r && c)
		r = load_staple(m, context, c->ocsp_file);
	if (!r)
		r = load_authorities(m, context);
	if (r < 0)
		return r;
	torc__tls_verify_use(m->tls, context);
	torc__tls_sessions_use(m->tls, context);
	use_protocols(m->tls, context);
	if (m->tls->server)
		SSL_CTX_set_tlsext_servername_callback(context, choose_certificate);
	return 0;
}

/* --- a set --- */

void torc__tls_set_give(struct torc__tls_set *set)
{
	if (!set || __atomic_sub_fetch(&set->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < set->count; i++) {
		torc__tls_staple_drop(set->contexts[i]);
		SSL_CTX_free(set->contexts[i]);
	}
	torc__free(set);
}

struct torc__tls_set *torc__tls_set_take(struct torc_tls *tls)
{
	struct torc__tls_set *set;

	pthread_mutex_lock(&tls->lock);
	set = tls->set;
	__atomic_add_fetch(&set->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&tls->lock);
	return set;
}

/* On a thread that may wait for files. */
static int make_set(void *arg)
{
	struct making *m = arg;
	const struct torc__tls_names *names = &m->tls->names;
	size_t count = names->certificate_count ? names->certificate_count : 1;
	int r = 0;

	m->set = torc__calloc(1, sizeof(*m->set) + count * sizeof(SSL_CTX *));
	if (!m->set)
		return fail(m, "TLS", -ENOMEM);
	m->set->refs = 1;
	ERR_clear_error();
	for (size_t i = 0; i < count && !r; i++) {
		SSL_CTX *context =
			SSL_CTX_new(m->tls->server ? TLS_server_method() : TLS_client_method());

		if (!context)
			return fail_by_reason(m, "TLS");
		m->set->contexts[m->set->count++] = context;
		r = fill(m, context, names->certificate_count ? &names->certificates[i] : NULL);
	}
	return r;
}

/* Make one, and let it be the present one. */
static int renew(struct torc_tls *tls, char *why)
{
	struct making m = { .tls = tls, .why = why };
	int r = torc_in_fiber() ? torc_offload(make_set, &m) : make_set(&m);
	struct torc__tls_set *before = m.set; /* if it is not complete */

	if (!r) {
		pthread_mutex_lock(&tls->lock);
		before = tls->set;
		tls->set = m.set;
		pthread_mutex_unlock(&tls->lock);
	}
	torc__tls_set_give(before);
	return r;
}

/* --- options --- */

static bool copy_text(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return !from || *to;
}

static size_t count_of(const char *const *texts)
{
	size_t n = 0;

	while (texts && texts[n])
		n++;
	return n;
}

static int copy_certificates(struct torc__tls_names *names, const struct torc_tls_options *o)
{
	names->certificates = torc__calloc(o->certificate_count + 1, sizeof(*names->certificates));
	if (!names->certificates)
		return -ENOMEM;
	for (size_t i = 0; i < o->certificate_count; i++) {
		char *cert, *key, *ocsp;
		bool good = copy_text(&cert, o->certificates[i].cert_file);

		good &= copy_text(&key, o->certificates[i].key_file);
		good &= copy_text(&ocsp, o->certificates[i].ocsp_file);
		names->certificates[names->certificate_count++] =
			(struct torc_tls_certificate){ cert, key, ocsp };
		if (!good)
			return -ENOMEM;
	}
	return 0;
}

static int copy_pins(struct torc__tls_names *names, const char *const *pins)
{
	size_t count = count_of(pins);

	if (!pins)
		return 0;
	names->pins = torc__calloc(count + 1, sizeof(char *));
	if (!names->pins)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (!copy_text(&names->pins[i], pins[i]))
			return -ENOMEM;
	return 0;
}

/* RFC 7301, 3.1: each with its length in front. */
static int copy_protocols(struct torc__tls_names *names, const char *const *alpn)
{
	size_t bytes = 0;

	if (!alpn)
		return 0;
	for (size_t i = 0; alpn[i]; i++) {
		size_t len = strlen(alpn[i]);

		if (!len || len > 255)
			return -EINVAL;
		bytes += 1 + len;
	}
	if (!bytes || bytes > 65535)
		return -EINVAL;
	names->alpn = torc__malloc(bytes);
	if (!names->alpn)
		return -ENOMEM;
	for (; *alpn; alpn++) {
		size_t len = strlen(*alpn);

		names->alpn[names->alpn_bytes] = (unsigned char)len;
		memcpy(names->alpn + names->alpn_bytes + 1, *alpn, len);
		names->alpn_bytes += 1 + (unsigned)len;
	}
	return 0;
}

static int copy_options(struct torc_tls *tls, const struct torc_tls_options *o)
{
	struct torc__tls_names *names = &tls->names;
	int r = copy_certificates(names, o);

	if (!r &&
	    (!copy_text(&names->ca_file, o->ca_file) || !copy_text(&names->ca_path, o->ca_path) ||
	     !copy_text(&names->crl_file, o->crl_file)))
		r = -ENOMEM;
	if (!r)
		r = copy_pins(names, o->pins);
	if (!r)
		r = copy_protocols(names, o->alpn);
	return r;
}

static bool is_version(int version)
{
	return !version || version == 12 || version == 13;
}

static const char *wrong_with(const struct torc_tls_options *o, bool server)
{
	if (server && !o->certificate_count)
		return "a server needs a certificate";
	if (!server && o->certificate_count > 1)
		return "a client has one certificate at most";
	for (size_t i = 0; i < o->certificate_count; i++)
		if (!o->certificates[i].cert_file)
			return "cert_file is missing";
	if (!server && o->certificate_count && o->certificates[0].ocsp_file)
		return "ocsp_file is a server's";
	if (!is_version(o->min_version) || !is_version(o->max_version))
		return "min_version and max_version must be 12 or 13";
	if (o->min_version == 13 && o->max_version == 12)
		return "min_version is above max_version";
	if ((unsigned)o->verify > TORC_TLS_VERIFY_REQUIRE)
		return "verify is none of its values";
	if ((unsigned)o->compute > TORC_TLS_COMPUTE_OTHER)
		return "compute is none of its values";
	for (size_t i = 0; o->pins && o->pins[i]; i++)
		if (strlen(o->pins[i]) != 44)
			return "a pin is not the base64 of 32 bytes";
	return NULL;
}

static void free_names(struct torc__tls_names *names)
{
	for (size_t i = 0; i < names->certificate_count; i++) {
		free((char *)(uintptr_t)names->certificates[i].cert_file);
		free((char *)(uintptr_t)names->certificates[i].key_file);
		free((char *)(uintptr_t)names->certificates[i].ocsp_file);
	}
	torc__free(names->certificates);
	for (size_t i = 0; names->pins && names->pins[i]; i++)
		free(names->pins[i]);
	torc__free(names->pins);
	free(names->ca_file);
	free(names->ca_path);
	free(names->crl_file);
	torc__free(names->alpn);
}

static void destroy(struct torc_tls *tls)
{
	torc__tls_set_give(tls->set);
	torc__tls_sessions_done(tls);
	free_names(&tls->names);
	torc_sem_done(&tls->handshakes);
	pthread_mutex_destroy(&tls->lock);
	torc__free(tls);
}

static int create(bool server, const struct torc_tls_options *o, struct torc_tls **ret, char *why)
{
	static const struct torc_tls_options defaults;
	const char *wrong = wrong_with(o ? o : &defaults, server);
	struct torc_tls *tls = wrong ? NULL : torc__calloc(1, sizeof(*tls));
	struct making m = { .why = why };
	int r;

	if (!tls)
		return fail(&m, wrong ? wrong : "TLS", wrong ? -EINVAL : -ENOMEM);
	tls->refs = 1;
	tls->secure.accept = torc_tls_accept;
	tls->server = server;
	tls->options = o ? *o : defaults;
	torc_sem_init(&tls->handshakes,
		      tls->options.handshakes_max ? tls->options.handshakes_max : HANDSHAKES_MAX);
	pthread_mutex_init(&tls->lock, NULL);
	r = copy_options(tls, o ? o : &defaults);
	if (!r)
		r = torc__tls_sessions_init(tls);
	if (r < 0)
		r = fail(&m, r == -EINVAL ? "alpn" : "TLS", r);
	if (!r)
		r = renew(tls, why);
	if (r < 0)
		destroy(tls);
	else
		*ret = tls;
	return r;
}

int torc_tls_server_create(const struct torc_tls_options *o, struct torc_tls **ret, char *ret_why)
{
	return create(true, o, ret, ret_why);
}

int torc_tls_client_create(const struct torc_tls_options *o, struct torc_tls **ret, char *ret_why)
{
	return create(false, o, ret, ret_why);
}

int torc_tls_reload(struct torc_tls *tls, char *ret_why)
{
	return renew(tls, ret_why);
}

struct torc_tls *torc_tls_ref(struct torc_tls *tls)
{
	__atomic_add_fetch(&tls->refs, 1, __ATOMIC_RELAXED);
	return tls;
}

void torc_tls_unref(struct torc_tls *tls)
{
	if (tls && !__atomic_sub_fetch(&tls->refs, 1, __ATOMIC_ACQ_REL))
		destroy(tls);
}
