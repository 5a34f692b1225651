/* CRIU's action script: a program that was dumped while it was stopped comes back stopped, and goes on here. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    const char *action = getenv("CRTOOLS_SCRIPT_ACTION");
    const char *pid = getenv("CRTOOLS_INIT_PID");
    if (action == NULL || pid == NULL || strcmp(action, "post-resume") != 0)
        return 0;
    return kill(atoi(pid), SIGCONT) == 0 ? 0 : 1;
}
