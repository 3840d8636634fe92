/* SPDX-License-Identifier: MIT */
/* cc ask.c $(pkg-config --cflags --libs libulmd-client)
 * The socket is $ULMD_SOCKET, or where ulmd listens by default. */
#include <stdio.h>
#include <string.h>
#include <ulmd/client.h>

static void on_event(void *data, const struct ulm_client_event *event)
{
    if (event->answer)
        fprintf(stderr, "[%s] %s\n", event->name, event->answer);
}

int main(int argc, char **argv)
{
    struct ulm_client *client;
    struct ulm_client_answer *answer;
    int r = argc == 2 ? ulm_client_connect(NULL, &client) : 1;
    if (r != 0) {
        fprintf(stderr, r < 0 ? "ulmd's socket: %s\n" : "%s\n",
                r < 0 ? strerror(-r) : "usage: ask QUESTION");
        return 1;
    }
    ulm_client_set_handler(client, on_event, NULL); /* to see the answer grow; NULL is fine */
    r = ulm_client_answer(client,
                          &(struct ulm_client_ask){ULM_CLIENT_ASK_INIT, .text = argv[1]},
                          30000, &answer);
    if (r == 0)
        printf("%s\n", answer->text);
    else
        fprintf(stderr, "%s\n", r == 1 ? answer->message : strerror(-r));
    if (r >= 0)
        ulm_client_answer_free(answer);
    ulm_client_free(client);
    return r == 0 ? 0 : 1;
}
