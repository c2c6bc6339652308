#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include "cli/commands/terminal.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <clocale>
#include <cwchar>

#include <ncurses.h>
#include <poll.h>
#include <unistd.h>

// Macros of ncurses that others use as names.
#undef OK
#undef ERR

#include "cli/output.h"
#include "cli/text.h"
#include "common/base/errors.h"

namespace postern::cli {
namespace {

constexpr int kFailed = -1;  // curses' ERR
// Escape is also the begin of other keys, which come at once when they come.
constexpr int kEscapeDelayMilliseconds = 50;

SCREEN* screen = nullptr;

int Attributes(Style style) {
  const bool colour = has_colors();
  switch (style) {
    case Style::kBold:
      return static_cast<int>(A_BOLD);
    case Style::kDim:
      return static_cast<int>(A_DIM);
    case Style::kTitle:
      return static_cast<int>(A_REVERSE | A_BOLD);
    case Style::kSelected:
      return static_cast<int>(A_REVERSE);
    case Style::kGood:
      return static_cast<int>(colour ? COLOR_PAIR(1) : A_NORMAL);
    case Style::kBad:
      return static_cast<int>(A_BOLD | (colour ? COLOR_PAIR(2) : A_NORMAL));
    case Style::kWarning:
      return static_cast<int>(colour ? COLOR_PAIR(3) : A_BOLD);
    case Style::kKeyword:
      return static_cast<int>(A_BOLD | (colour ? COLOR_PAIR(4) : A_NORMAL));
    default:
      return static_cast<int>(A_NORMAL);
  }
}

Key FromCode(wint_t code) {
  switch (code) {
    case KEY_UP:
      return {.kind = Key::Kind::kUp};
    case KEY_DOWN:
      return {.kind = Key::Kind::kDown};
    case KEY_PPAGE:
      return {.kind = Key::Kind::kPageUp};
    case KEY_NPAGE:
      return {.kind = Key::Kind::kPageDown};
    case KEY_HOME:
      return {.kind = Key::Kind::kHome};
    case KEY_END:
      return {.kind = Key::Kind::kEnd};
    case KEY_ENTER:
      return {.kind = Key::Kind::kEnter};
    case KEY_BACKSPACE:
      return {.kind = Key::Kind::kBackspace};
    case KEY_RESIZE:
      return {.kind = Key::Kind::kResize};
    default:
      return {};
  }
}

Key FromCharacter(wint_t character) {
  if (character == L'\n' || character == L'\r') return {.kind = Key::Kind::kEnter};
  if (character == 27) return {.kind = Key::Kind::kEscape};
  if (character == 127 || character == 8) return {.kind = Key::Kind::kBackspace};
  if (character < 32) return {};
  char bytes[MB_LEN_MAX];
  std::mbstate_t state{};
  const size_t size = std::wcrtomb(bytes, static_cast<wchar_t>(character), &state);
  if (size == static_cast<size_t>(-1)) return {};
  return {.kind = Key::Kind::kText, .text = std::string(bytes, size)};
}

// A key that is there already; kNone when there is none.
Key Typed() {
  wint_t code = 0;
  const int got = get_wch(&code);
  if (got == kFailed) return {};
  return got == KEY_CODE_YES ? FromCode(code) : FromCharacter(code);
}

}  // namespace

absl::StatusOr<Terminal*> Terminal::Open() {
  static Terminal terminal;
  std::setlocale(LC_ALL, "");
  screen = newterm(nullptr, stdout, stdin);
  if (screen == nullptr) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_TERMINAL",
                 "TERM names no terminal for a full-screen program", "set TERM, or use --plain");
  }
  set_term(screen);
  cbreak();
  noecho();
  keypad(stdscr, TRUE);
  nodelay(stdscr, TRUE);
  set_escdelay(kEscapeDelayMilliseconds);
  if (has_colors()) {
    start_color();
    use_default_colors();
    init_pair(1, COLOR_GREEN, -1);
    init_pair(2, COLOR_RED, -1);
    init_pair(3, COLOR_YELLOW, -1);
    init_pair(4, COLOR_CYAN, -1);
  }
  return &terminal;
}

void Terminal::Close() {
  if (screen == nullptr) return;
  endwin();
  delscreen(screen);
  screen = nullptr;
}

int Terminal::rows() const { return LINES; }
int Terminal::columns() const { return COLS; }
void Terminal::Clear() { werase(stdscr); }

void Terminal::Put(int row, int column, std::string_view text, Style style, bool fill) {
  if (row < 0 || row >= LINES || column >= COLS) return;
  std::string shown = Clip(Printable(text), static_cast<size_t>(COLS - column - 1));
  if (fill) shown.append(std::max<size_t>(Columns(shown), static_cast<size_t>(COLS - column)) - Columns(shown), ' ');
  wattrset(stdscr, Attributes(style));
  mvwaddnstr(stdscr, row, column, shown.c_str(), static_cast<int>(shown.size()));
  wattrset(stdscr, A_NORMAL);
}

void Terminal::PlaceCursor(int row, int column) {
  curs_set(1);
  wmove(stdscr, row, column);
}
void Terminal::HideCursor() { curs_set(0); }
void Terminal::Show() { wrefresh(stdscr); }

Key Terminal::Read(int wake_fd, absl::Duration timeout) {
  if (Key ready = Typed(); ready.kind != Key::Kind::kNone) return ready;
  pollfd fds[2] = {{STDIN_FILENO, POLLIN, 0}, {wake_fd, POLLIN, 0}};
  const int ready = poll(fds, 2, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  // A signal: the window may have another size, which ncurses tells as a key.
  if (ready < 0 && errno == EINTR) return Typed();
  if (ready <= 0) return {};
  if ((fds[0].revents & (POLLHUP | POLLERR)) != 0 && (fds[0].revents & POLLIN) == 0)
    return {.kind = Key::Kind::kHangup};
  return (fds[0].revents & POLLIN) != 0 ? Typed() : Key{};
}

}  // namespace postern::cli
