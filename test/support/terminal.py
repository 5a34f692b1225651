"""Drives a program on a terminal of its own, by a script of steps in JSON (see terminal.ts).

Says in JSON what was seen, how the program ended, and the terminal's modes before and after it.
"""
import errno, fcntl, json, os, pty, select, signal, struct, sys, termios, time

request = json.load(sys.stdin)
deadline = time.monotonic() + request.get('timeout', 30)
master, slave = os.openpty()


def resize(rows, columns):
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))


def modes():
    return [str(field) for field in termios.tcgetattr(slave)]



resize(24, 80)
before = modes()
leader = request.get('leader')
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.closerange(3, 64)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if leader:
        # A script: its command ends, and it goes on with the terminal, which is to be as it was.
        child = os.fork()
        if child:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            same = [str(field) for field in termios.tcgetattr(0)] == before
            mine = os.tcgetpgrp(0) == os.getpgrp()
            os.write(1, b'[modes %s, group %s]\n' % (b'kept' if same else b'lost', b'kept' if mine else b'lost'))
            os._exit(code & 255)
    command = request['command']
    os.execve(command[0], command, request['env'])

seen, looked, problem, during = '', 0, None, None


def read(seconds):
    global seen
    ready, _, _ = select.select([master], [], [], max(0, seconds))
    if not ready:
        return False
    try:
        seen += os.read(master, 65536).decode('utf-8', 'replace')
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return False
    return True


for step in request['steps']:
    kind, value = step[0], step[1]
    if kind == 'expect':
        while value not in seen[looked:]:
            left = deadline - time.monotonic()
            if left <= 0 or (not read(min(left, 0.2)) and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
                problem = 'expected ' + repr(value)
                break
        if problem:
            break
        looked = seen.index(value, looked) + len(value)
    elif kind == 'send':
        os.write(master, value.encode())
    elif kind == 'resize':
        resize(*value)
    elif kind == 'modes':
        time.sleep(0.1)
        during = modes()
    elif kind == 'pause':
        time.sleep(value)

status = None
while status is None:
    while read(0.02):
        pass
    done, code = os.waitpid(pid, os.WNOHANG)
    if done:
        status = os.waitstatus_to_exitcode(code)
    elif problem or time.monotonic() > deadline:
        if not problem:
            problem = 'it does not end'
        os.kill(pid, signal.SIGKILL)
while read(0.05):
    pass
after = modes()
json.dump({'seen': seen, 'status': status, 'problem': problem, 'before': before, 'during': during, 'after': after},
          sys.stdout)
