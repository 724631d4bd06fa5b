#define _GNU_SOURCE
#include "files.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *directory(void)
{
	return getenv("LLMUX_STAND_IN_CUDA");
}

static int path_of(char *path, size_t size, const char *format, va_list list)
{
	int length;

	if (!directory())
		return -1;
	length = snprintf(path, size, "%s/", directory());
	vsnprintf(path + length, size - length, format, list);
	return 0;
}

int read_file(char *text, size_t size, const char *format, ...)
{
	char path[4096];
	va_list list;
	ssize_t length;
	int fd, failed;

	va_start(list, format);
	failed = path_of(path, sizeof(path), format, list);
	va_end(list);
	if (failed || (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	length = read(fd, text, size - 1);
	close(fd);
	text[length < 0 ? 0 : length] = '\0';
	return length < 0 ? -1 : 0;
}

void write_file(const char *text, int flags, const char *format, ...)
{
	char path[4096];
	va_list list;
	int fd, failed;

	va_start(list, format);
	failed = path_of(path, sizeof(path), format, list);
	va_end(list);
	if (failed || (fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666)) < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		perror(path);
	close(fd);
}

void rename_file(const char *from, const char *to)
{
	if (rename(from, to))
		perror(to);
}

long number_in(const char *name, long otherwise)
{
	char text[64];

	return read_file(text, sizeof(text), "%s", name) ? otherwise : strtol(text, NULL, 10);
}

void each_allocation(int id, const char *kind, void (*with)(const struct allocation *, void *), void *more)
{
	DIR *files = directory() ? opendir(directory()) : NULL;
	char path[4096], format[32];
	struct allocation each = { .path = path };

	if (!files)
		return;
	snprintf(format, sizeof(format), "%%d.%s-%%d", kind);
	for (struct dirent *file; (file = readdir(files));) {
		if (sscanf(file->d_name, format, &each.owner, &each.number) != 2 || (id && each.owner != id))
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory(), file->d_name);
		with(&each, more);
	}
	closedir(files);
}

long bytes_held(const struct allocation *allocation)
{
	int fd = open(allocation->path, O_RDONLY | O_CLOEXEC);
	struct stat facts = { 0 };
	int ended;

	if (fd < 0)
		return 0;
	ended = !flock(fd, LOCK_EX | LOCK_NB);
	if (fstat(fd, &facts))
		facts.st_size = 0;
	close(fd);
	return ended ? -1 : facts.st_size;
}

void rest(long milliseconds)
{
	struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };

	nanosleep(&time, NULL);
}
