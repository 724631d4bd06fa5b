/* The state of each process, and the answers that a test wants. */
#define _GNU_SOURCE
#include "cuda.h"
#include "files.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const STATES[] = { "running", "locked", "checkpointed", "failed" };

int innermost(int pid)
{
	char path[64], line[256];
	int id = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!(file = fopen(path, "re")))
		return 0;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "NSpid:", 6))
			for (char *word = strtok(line + 6, "\t \n"); word; word = strtok(NULL, "\t \n"))
				id = atoi(word);
	fclose(file);
	return id;
}

int state_of(int id)
{
	char text[64];

	if (!id || read_file(text, sizeof(text), "%d.state", id))
		return NONE;
	for (int state = RUNNING; state <= FAILED; state++)
		if (!strncmp(text, STATES[state], strlen(STATES[state])))
			return state;
	return NONE;
}

/* By a rename: others read it all the time. */
void become(int id, const char *state)
{
	char new[4096], path[4096];

	write_file(state, O_TRUNC, "%d.state.new", id);
	snprintf(new, sizeof(new), "%s/%d.state.new", directory() ? directory() : "", id);
	snprintf(path, sizeof(path), "%s/%d.state", directory() ? directory() : "", id);
	rename_file(new, path);
}

CUresult done(const char *call, int id, CUresult result)
{
	char line[128];

	snprintf(line, sizeof(line), "%s %d %d\n", call, id, result);
	write_file(line, O_APPEND, "log");
	return result;
}

CUresult told(const char *call, int id)
{
	char text[64], name[64], *state;
	CUresult result;

	snprintf(name, sizeof(name), "%d.delay-%s", id, call);
	rest(number_in(name, 0));
	if (read_file(text, sizeof(text), "%d.fail-%s", id, call))
		return -1;
	result = (CUresult)strtol(text, &state, 10);
	if (*state == ' ')
		become(id, state + 1);
	return result;
}

CUresult step(const char *call, int pid, int from, int to)
{
	int id = innermost(pid), state = state_of(id);
	CUresult result;

	if (!initialized)
		return NOT_INITIALIZED;
	if (state == NONE)
		return done(call, id, INVALID_VALUE);
	if ((result = told(call, id)) >= 0)
		return done(call, id, result);
	if (state != from)
		return done(call, id, ILLEGAL_STATE);
	move_memory(id, from, to);
	become(id, STATES[to]);
	return done(call, id, SUCCESS);
}
