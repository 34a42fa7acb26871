/*
 * http/coding_all.c - a list that needs all libraries.
 */
#include <stddef.h>

#include <torc/http/compress.h>

const struct torc_http_coding *const torc_http_codings_all[] = { &torc_http_brotli, &torc_http_zstd,
								 &torc_http_gzip,
								 &torc_http_deflate, NULL };
