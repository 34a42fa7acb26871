#ifndef TORC_HTTP_FORM_DATA_H
#define TORC_HTTP_FORM_DATA_H
#include <torc/core/api.h>
struct torc_http_form_data;
TORC_API uint64_t torc_http_form_data_length(const struct torc_http_form_data *f);
TORC_API const char *torc_http_form_data_type(const struct torc_http_form_data *f);
TORC_API int torc_http_form_data_write(struct torc_http_form_data *f,
				       int (*write)(void *to, const void *data, size_t len),
				       void *to);
#endif
