"""joy_node in a process that also holds a virtual game controller of SDL, in place of hardware.

SDL itself makes the device, so that all of the node is under test. Commands on standard input, one a line:
plug NAME MAPPED, unplug, axis INDEX VALUE, button INDEX VALUE. A rumble is printed.
"""

import ctypes
from ctypes import c_char_p, c_int, c_uint16, c_uint32, c_void_p
import sys
import threading

from rlt_ros.nodes import joy_node

RUMBLE = ctypes.CFUNCTYPE(c_int, c_void_p, c_uint16, c_uint16)
SHORTS, LONGS = 'version type axes buttons hats vendor product padding', 'button_mask axis_mask'
POINTERS = 'userdata update player'


class Description(ctypes.Structure):
    """SDL_VirtualJoystickDesc of SDL 2.24 and later."""

    _fields_ = [
        *((name, c_uint16) for name in SHORTS.split()),
        *((name, c_uint32) for name in LONGS.split()),
        ('name', c_char_p),
        *((name, c_void_p) for name in POINTERS.split()),
        ('rumble', RUMBLE),
        *((name, c_void_p) for name in ('triggers', 'led', 'effect')),
    ]


@RUMBLE
def rumble(user, low, high):
    print(f'rumble {low} {high}', flush=True)
    return 0


def obey(sdl: ctypes.CDLL) -> None:
    """Carry out the commands that come.

    SDL locks in each call by itself. A lock held from here over several would never be given back: the node waits for
    it inside SDL with Python's own lock in hand, and without that this thread cannot go on.
    """
    pad, plugged = None, 0
    for line in sys.stdin:
        command, *words = line.split()
        if command == 'plug':
            mapped, plugged = words[1] == 'yes', plugged + 1  # type 1 is a game controller, 7 a drum kit
            description = Description(
                version=1, type=1 if mapped else 7, axes=6, buttons=21, vendor=0x1209, product=plugged,
                name=words[0].encode(), rumble=rumble,
            )  # fmt: skip
            index = sdl.SDL_JoystickAttachVirtualEx(ctypes.byref(description))
            pad = c_void_p(sdl.SDL_JoystickOpen(index))
        elif command == 'unplug':
            sdl.SDL_JoystickClose(pad)
            sdl.SDL_JoystickDetachVirtual(0)
        elif command == 'axis':
            sdl.SDL_JoystickSetVirtualAxis(pad, int(words[0]), ctypes.c_int16(int(words[1])))
        else:
            sdl.SDL_JoystickSetVirtualButton(pad, int(words[0]), int(words[1]))


def loaded_sdl() -> ctypes.CDLL:
    """The SDL that pygame uses."""
    with open('/proc/self/maps') as maps:
        path = next(line.split()[-1] for line in maps if 'libSDL2-2' in line)
    sdl = ctypes.CDLL(path)
    sdl.SDL_JoystickOpen.restype = c_void_p
    return sdl


if __name__ == '__main__':
    threading.Thread(target=obey, args=[loaded_sdl()], daemon=True).start()
    sys.exit(joy_node.main())
