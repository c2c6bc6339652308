// The few things that a full-screen program asks of a terminal. ncurses stays behind it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace postern::cli {

enum class Style : uint8_t { kPlain, kBold, kDim, kTitle, kSelected, kGood, kBad, kWarning, kKeyword };

// What was typed: a character, or one of the keys below.
struct Key {
  enum class Kind : uint8_t {
    kNone,
    kText,
    kEnter,
    kEscape,
    kBackspace,
    kUp,
    kDown,
    kPageUp,
    kPageDown,
    kHome,
    kEnd,
    kResize,
    kHangup
  };
  Kind kind = Kind::kNone;
  std::string text = {};  // one UTF-8 character
};

// One at a time. The terminal is as before once it is gone.
class Terminal {
 public:
  // FAILED_PRECONDITION/NO_TERMINAL: `TERM` names none that can place a cursor.
  static absl::StatusOr<Terminal*> Open();
  static void Close();

  int rows() const;
  int columns() const;

  void Clear();
  // Writes `text` into a line from `column` on, cut at the edge; the rest of the line takes the style with `fill`.
  void Put(int row, int column, std::string_view text, Style style = Style::kPlain, bool fill = false);
  void PlaceCursor(int row, int column);
  void HideCursor();
  // Brings everything since the last time to the screen.
  void Show();

  // Waits for a key, for `wake_fd` to become readable, or for `timeout`; kNone for the latter two.
  Key Read(int wake_fd, absl::Duration timeout);

 private:
  Terminal() = default;
};

}  // namespace postern::cli
