/* A program that asks a board for results, with the driver of a build folder (POSIX):
 *
 *   $ cc -std=c99 -I build/integrate -o ask examples/c/ask.c build/integrate/network.c
 *   $ ./ask /dev/ttyUSB1 < frames
 *
 * `frames` are inputs one behind the other, each NETWORK_CODES times a network_code in the model's order. A line with
 * the elements of its result is printed for each. For another speed of the line compile with -DSPEED=B115200, say.
 */
#define _DEFAULT_SOURCE
#include "network.h"

#include <fcntl.h>
#include <stdio.h>
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

int main(int argc, char **argv)
{
  static struct network_link link;
  struct network_hello hello;
  struct termios terminal;
  network_code codes[NETWORK_CODES];
  network_element elements[NETWORK_ELEMENTS];
  int port = argc == 2 ? open(argv[1], O_RDWR | O_NOCTTY) : -1, status, i;
  if (port < 0 || tcgetattr(port, &terminal)) {
    fprintf(stderr, "say which serial port: ask PORT < frames\n");
    return 2;
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
  while (!status && fread(codes, sizeof codes, 1, stdin) == 1) {
    status = network_infer(&link, codes, elements);
    for (i = 0; !status && i < NETWORK_ELEMENTS; i++)
      printf("%lld%c", (long long)elements[i], i < NETWORK_ELEMENTS - 1 ? ' ' : '\n');
  }
  if (status)
    fprintf(stderr, "the board did not answer as it should (network_status %d)\n", status);
  close(port);
  return status ? 3 : 0;
}
