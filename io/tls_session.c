/*
 * io/tls_session.c - sessions that are resumed: the tickets of a server, and what a client remembers.
 *
 * A server keeps nothing: the session is in the ticket, encrypted with a key of the configuration's (RFC 5077, 4). Keys change in half
 * of the time for which a ticket is good, and the one before is still known, so that who has a key from memory can read no
 * more than that much of the past. A reload does not change them.
 *
 * A client remembers the last session of each host. One of TLS 1.3 is used once (RFC 8446, appendix C.4); every
 * connection brings new ones.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "core/internal/system.h"
#include "io/internal/tls.h"

#define TICKET_NS (2 * TORC_SECONDS(3600))

/* --- tickets --- */

static uint64_t lifetime(const struct torc_tls *tls)
{
	return tls->options.ticket_ns ? tls->options.ticket_ns : TICKET_NS;
}

static bool make_key(struct torc__ticket_key *key, uint64_t now)
{
	if (RAND_bytes(key->name, sizeof(key->name)) != 1 ||
	    RAND_priv_bytes(key->aes, sizeof(key->aes)) != 1 ||
	    RAND_priv_bytes(key->mac, sizeof(key->mac)) != 1)
		return false;
	key->made_ns = now;
	return true;
}

/* The lock is held. */
static bool rotate(struct torc_tls *tls)
{
	uint64_t now = torc_now_ns(), half = lifetime(tls) / 2;
	struct torc__ticket_key *key = tls->keys;

	if (key[1].made_ns && now - key[1].made_ns >= lifetime(tls) + half)
		OPENSSL_cleanse(&key[1], sizeof(key[1]));
	if (key[0].made_ns && now - key[0].made_ns < half)
		return true;
	key[1] = key[0];
	if (key[1].made_ns && now - key[1].made_ns >= lifetime(tls) + half)
		OPENSSL_cleanse(&key[1], sizeof(key[1]));
	return make_key(&key[0], now);
}

static bool present_key(struct torc_tls *tls, struct torc__ticket_key *ret)
{
	bool good;

	pthread_mutex_lock(&tls->lock);
	good = rotate(tls);
	*ret = tls->keys[0];
	pthread_mutex_unlock(&tls->lock);
	return good;
}

/* Returns 0: none of ours; 1: the present one; 2: it is good, but the next ticket is to be of another. */
static int find_key(struct torc_tls *tls, const unsigned char *name, struct torc__ticket_key *ret)
{
	int found = 0;

	pthread_mutex_lock(&tls->lock);
	if (rotate(tls)) {
		for (int i = 0; i < 2 && !found; i++) {
			if (!tls->keys[i].made_ns || memcmp(tls->keys[i].name, name, 16) != 0)
				continue;
			*ret = tls->keys[i];
			found = i + 1;
		}
	}
	pthread_mutex_unlock(&tls->lock);
	return found;
}

static bool set_mac(EVP_MAC_CTX *mac, struct torc__ticket_key *key)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
						 (char *)(uintptr_t) "SHA256", 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int encrypt_ticket(struct torc__ticket_key *key, unsigned char *name, unsigned char *iv,
			  EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1 || !set_mac(mac, key) ||
	    EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv) != 1)
		return -1;
	memcpy(name, key->name, sizeof(key->name));
	return 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): -1 is an error, 0 a full handshake. */
static int on_ticket(SSL *ssl, unsigned char name[16], unsigned char iv[EVP_MAX_IV_LENGTH],
		     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
	struct torc_tls *tls = torc__tls_of(ssl)->config;
	struct torc__ticket_key key;
	int r;

	if (encrypt) {
		r = present_key(tls, &key) ? encrypt_ticket(&key, name, iv, cipher, mac) : -1;
	} else {
		r = find_key(tls, name, &key);
		if (r && (!set_mac(mac, &key) ||
			  EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) != 1))
			r = -1;
		/* A ticket of 1.3 is used once, so that each connection has to bring the next one. */
		if (r > 0 && SSL_version(ssl) == TLS1_3_VERSION)
			r = 2;
	}
	OPENSSL_cleanse(&key, sizeof(key));
	return r;
}

/* --- what a client remembers --- */

/* The place of the host, or of the one that was used longest ago. */
static struct torc__tls_session *place_of(struct torc_tls *tls, const char *host)
{
	struct torc__tls_session *oldest = tls->sessions;

	for (size_t i = 0; i < TORC__TLS_SESSIONS; i++) {
		struct torc__tls_session *s = &tls->sessions[i];

		if (s->session && !strcmp(s->host, host))
			return s;
		if (s->used < oldest->used)
			oldest = s;
	}
	return oldest;
}

/* Returns 1: the session is ours now. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct torc__tls *t = torc__tls_of(ssl);
	struct torc_tls *tls = t->config;
	struct torc__tls_session *s;
	SSL_SESSION *before;

	if (!*t->host)
		return 0;
	pthread_mutex_lock(&tls->lock);
	s = place_of(tls, t->host);
	before = s->session;
	s->session = session;
	s->used = ++tls->uses;
	memcpy(s->host, t->host, sizeof(s->host));
	pthread_mutex_unlock(&tls->lock);
	SSL_SESSION_free(before);
	return 1;
}

static SSL_SESSION *recall(struct torc_tls *tls, const char *host)
{
	SSL_SESSION *session = NULL;
	struct torc__tls_session *s;

	pthread_mutex_lock(&tls->lock);
	s = place_of(tls, host);
	if (s->session && !strcmp(s->host, host)) {
		session = s->session;
		s->session = NULL;
		s->used = 0;
		if (SSL_SESSION_get_protocol_version(session) == TLS1_2_VERSION &&
		    SSL_SESSION_up_ref(session)) {
			s->session = session;
			s->used = ++tls->uses;
		}
	}
	pthread_mutex_unlock(&tls->lock);
	return session;
}

void torc__tls_session_offer(struct torc__tls *t)
{
	SSL_SESSION *session;

	if (!t->config->sessions || !*t->host)
		return;
	session = recall(t->config, t->host);
	if (session)
		SSL_set_session(t->ssl,
				session); /* which takes a reference, or a full handshake follows */
	SSL_SESSION_free(session);
}

/* --- both --- */

int torc__tls_sessions_init(struct torc_tls *tls)
{
	if (tls->server || tls->options.no_resumption)
		return 0;
	tls->sessions = torc__calloc(TORC__TLS_SESSIONS, sizeof(*tls->sessions));
	return tls->sessions ? 0 : -ENOMEM;
}

void torc__tls_sessions_done(struct torc_tls *tls)
{
	for (size_t i = 0; tls->sessions && i < TORC__TLS_SESSIONS; i++)
		SSL_SESSION_free(tls->sessions[i].session);
	torc__free(tls->sessions);
	OPENSSL_cleanse(tls->keys, sizeof(tls->keys));
}

static void use_tickets(struct torc_tls *tls, SSL_CTX *context)
{
	static const unsigned char scope[] = "torc";

	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(context, scope, sizeof(scope) - 1);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
	SSL_CTX_set_timeout(context, (long)(lifetime(tls) / TORC_SECONDS(1)));
	SSL_CTX_set_num_tickets(context, 1);
}

void torc__tls_sessions_use(struct torc_tls *tls, SSL_CTX *context)
{
	if (tls->options.no_resumption) {
		SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(context, 0);
		SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	} else if (tls->server) {
		use_tickets(tls, context);
	} else {
		SSL_CTX_set_session_cache_mode(context,
					       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(context, on_session);
	}
}
