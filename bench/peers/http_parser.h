/*
 * bench/peers/http_parser.h - Debian's libhttp-parser, to measure and to compare with. Optional: it is loaded when it
 * is there, so that nothing of torc depends on it. Needs the header when compiled (libhttp-parser-dev).
 */
#ifndef TORC_BENCH_PEERS_HTTP_PARSER_H
#define TORC_BENCH_PEERS_HTTP_PARSER_H

#if __has_include(<http_parser.h>)

#include <dlfcn.h>
#include <http_parser.h>
#include <stdbool.h>

struct peer_parser {
	void (*init)(http_parser *parser, enum http_parser_type type);
	void (*settings_init)(http_parser_settings *settings);
	size_t (*execute)(http_parser *parser, const http_parser_settings *settings,
			  const char *data, size_t len);
};

/* Never unloaded. */
static inline bool peer_parser_load(struct peer_parser *peer)
{
	void *lib = dlopen("libhttp_parser.so.2.9", RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		return false;
	*(void **)&peer->init = dlsym(lib, "http_parser_init");
	*(void **)&peer->settings_init = dlsym(lib, "http_parser_settings_init");
	*(void **)&peer->execute = dlsym(lib, "http_parser_execute");
	return peer->init && peer->settings_init && peer->execute;
}

#define PEER_PARSER 1
#else
#define PEER_PARSER 0
#endif

#endif
