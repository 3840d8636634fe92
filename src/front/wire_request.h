/* SPDX-License-Identifier: MIT */
/* A checked line -> a request. Private to the wire. */
#ifndef ULM_FRONT_WIRE_REQUEST_H
#define ULM_FRONT_WIRE_REQUEST_H

struct ulm_fault;
struct ulm_request;

/* line is a JSON object that passed ulm_json_check. ULM_WIRE_REQUEST, ULM_WIRE_FAULT or -ENOMEM. */
int ulm_wire_read_request(const char *line, struct ulm_request *ret_request,
                          struct ulm_fault *ret_fault);

#endif
