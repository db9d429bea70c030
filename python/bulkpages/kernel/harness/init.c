// SPDX-License-Identifier: GPL-2.0-only
/*
 * The only program in the kernel that is measured or recorded: gives the job in /job to /proc/bulkpages and writes what
 * the kernel found to the disk, or to the console where there is none, then switches off. Linked statically.
 *
 * Lines of a job that begin with `!` are for this program: `!copy FILE` puts a file's text into the results, `!set
 * FILE WORD` writes a word into one, `!wait` stops here until a byte comes on the console. The others go to the kernel.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static FILE *results;

static void copy(const char *path)
{
	char text[65536];
	int file = open(path, O_RDONLY);
	ssize_t got;

	while (file >= 0 && (got = read(file, text, sizeof(text))) > 0)
		fwrite(text, 1, got, results);
	if (file >= 0)
		close(file);
}

static void give(const char *text, size_t length)
{
	int file = open("/proc/bulkpages", O_WRONLY);

	if (file < 0 || write(file, text, length) != (ssize_t)length)
		fprintf(results, "error the kernel did not take the job\n");
	if (file >= 0)
		close(file);
}

static void order(char *line)
{
	char path[128], word[64];

	if (sscanf(line, "!copy %127s", path) == 1) {
		fprintf(results, "==%s\n", path);
		copy(path);
	} else if (sscanf(line, "!set %127s %63s", path, word) == 2) {
		FILE *file = fopen(path, "w");

		if (!file || fputs(word, file) < 0 || fclose(file))
			fprintf(results, "error %s cannot be set to %s\n", path, word);
	} else if (!strcmp(line, "!wait")) {
		char byte;

		printf("bulkpages waits\n");
		fflush(stdout);
		if (read(0, &byte, 1) < 0)
			fprintf(results, "error no console to wait for\n");
	}
}

/* Where the job stands, all of it in memory: reading it may not disturb what is recorded later. */
static char job[4 << 20];

int main(void)
{
	char *line = job, *first = job, *end;
	size_t length = 0;
	ssize_t got;
	int file;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, "");
	mount("sysfs", "/sys", "sysfs", 0, "");
	mount("devtmpfs", "/dev", "devtmpfs", 0, "");
	file = open("/job", O_RDONLY);
	while (file >= 0 && (got = read(file, job + length, sizeof(job) - 1 - length)) > 0)
		length += got;
	results = fopen("/dev/vda", "r+");
	if (!results)
		results = stdout;
	fprintf(results, "\nbulkpages begins\n");
	/* Whole stretches of lines go to the kernel at once. */
	for (; *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end)
			end = line + strlen(line);
		if (*line == '!') {
			char rest[256];

			if (line > first)
				give(first, line - first);
			snprintf(rest, sizeof(rest), "%.*s", (int)(end - line), line);
			order(rest);
			first = end + (*end == '\n');
		}
		if (!*end)
			break;
	}
	if (first < job + length)
		give(first, job + length - first);
	copy("/proc/bulkpages");
	fprintf(results, "\nbulkpages ends\n");
	fflush(results);
	fsync(fileno(results));
	if (results == stdout)
		tcdrain(1);
	sync();
	reboot(RB_POWER_OFF);
	return 0;
}
