/* A program that asks a board for results, with the driver of a build folder (POSIX):
 *
 *   $ cc -std=c99 -I build/integrate -o ask examples/c/ask.c build/integrate/network.c
 *   $ ./ask /dev/ttyUSB1 < frames
 *   $ ./ask /dev/ttyUSB1 build/images/[0-9]*.bin < frames
 *
 * The second way loads the weights of the folder where the board has none (as `dovetail run build` does).
 *
 * `frames` are inputs one behind the other, each NETWORK_CODES times a network_code in the model's order; the folder's
 * golden frames, say, where a network_code is a uint8_t (network.h has the type), are
 *
 *   $ .venv/bin/python -c "import numpy; numpy.load('build/golden.npz')['inputs'].astype('uint8').tofile('frames')"
 *
 * A line with the elements of its result is printed for each. For another speed of the line compile with
 * -DSPEED=B115200, say.
 */
#define _DEFAULT_SOURCE
#include "network.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#ifndef SPEED
#define SPEED B1000000
#endif

static int write_octets(void *port, const uint8_t *octets, size_t count)
{
  while (count) {
    ssize_t written = write(*(int *)port, octets, count);
    if (written <= 0)
      return -1;
    octets += written;
    count -= (size_t)written;
  }
  return 0;
}

/* The terminal waits for half a second (VTIME). */
static int read_octet(void *port)
{
  uint8_t octet;
  return read(*(int *)port, &octet, 1) == 1 ? octet : -1;
}

static const char *meaning(enum network_status status, const struct network_link *link)
{
  static const char *const reasons[] = {"no reason", "type unknown", "length wrong", "not loaded",
                                        "not the next part of a load", "CRC of the load wrong", "not loadable"};
  static char text[80];
  switch (status) {
  case NETWORK_OK: return "all is well";
  case NETWORK_NOT_WRITTEN: return "the port takes nothing";
  case NETWORK_NO_ANSWER: return "no answer: is the board programmed, is it this port, is SPEED the board's?";
  case NETWORK_WRONG_ANSWER: return "an answer that is not of the protocol: is something else at this port?";
  case NETWORK_WRONG_VERSION: return "the board speaks another version of the protocol: build its bitstream anew";
  case NETWORK_WRONG_DESIGN: return "the board holds another network: program it with this one's bitstream";
  case NETWORK_NOT_LOADED:
    return "the board has no weights: `ask PORT BUILD/images/*.bin` or `dovetail run BUILD --port PORT` loads them";
  case NETWORK_REFUSED_CALL:
    snprintf(text, sizeof text, "the board refused the call: %s",
             link->reason < sizeof reasons / sizeof *reasons ? reasons[link->reason] : "for a reason unknown");
    return text;
  }
  return "unknown";
}

#if NETWORK_LOADABLE
static struct network_image read_image(const char *path)
{
  struct network_image image = {NULL, 0};
  FILE *file = fopen(path, "rb");
  long count = file && !fseek(file, 0, SEEK_END) ? ftell(file) : -1;
  uint8_t *octets = count >= 0 ? malloc((size_t)count + 1) : NULL;
  if (!octets || fseek(file, 0, SEEK_SET) || fread(octets, 1, (size_t)count, file) != (size_t)count) {
    fprintf(stderr, "%s: cannot be read\n", path);
    exit(2);
  }
  fclose(file);
  image.octets = octets;
  image.count = (size_t)count;
  return image;
}

static enum network_status load(struct network_link *link, char **paths)
{
  struct network_image images[NETWORK_MEMORIES];
  int i;
  for (i = 0; i < NETWORK_MEMORIES; i++)
    images[i] = read_image(paths[i]);
  return network_load_all(link, images);
}
#define IMAGES NETWORK_MEMORIES
#else
#define IMAGES 0
#endif

int main(int argc, char **argv)
{
  static struct network_link link;
  struct network_hello hello;
  struct termios terminal;
  network_code codes[NETWORK_CODES];
  network_element elements[NETWORK_ELEMENTS];
  enum network_status status;
  int port, i;
  if (argc != 2 && argc != 2 + IMAGES) {
    fprintf(stderr, IMAGES ? "usage: ask PORT [BUILD/images/*.bin] < frames\n" : "usage: ask PORT < frames\n");
    return 2;
  }
  port = open(argv[1], O_RDWR | O_NOCTTY);
  if (port < 0 || tcgetattr(port, &terminal)) {
    int number = errno;
    fprintf(stderr, "%s: %s\n", argv[1], number == ENOTTY ? "is no serial port" : strerror(number));
    return number == ENOTTY ? 2 : 3;
  }
  cfmakeraw(&terminal);
  terminal.c_cc[VMIN] = 0;
  terminal.c_cc[VTIME] = 5;
  cfsetspeed(&terminal, SPEED);
  tcsetattr(port, TCSAFLUSH, &terminal);

  link.write = write_octets;
  link.read = read_octet;
  link.context = &port;
  link.tag = (uint32_t)time(NULL) ^ (uint32_t)getpid() << 16;
  link.attempts = 3;
  status = network_hello(&link, &hello);
  if (!status && !hello.loaded) {
    status = NETWORK_NOT_LOADED;
#if NETWORK_LOADABLE
    if (argc > 2)
      status = load(&link, argv + 2);
#endif
  }
  while (!status && fread(codes, sizeof codes, 1, stdin) == 1) {
    status = network_infer(&link, codes, elements);
    for (i = 0; !status && i < NETWORK_ELEMENTS; i++)
      printf("%lld%c", (long long)elements[i], i < NETWORK_ELEMENTS - 1 ? ' ' : '\n');
  }
  if (status)
    fprintf(stderr, "%s: %s\n", argv[1], meaning(status, &link));
  close(port);
  return status ? 3 : 0;
}
