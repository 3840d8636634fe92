# SPDX-License-Identifier: MIT
"""As much of a terminal as ulmctl uses: what stands on the screen, and in which style."""
import re
import unicodedata

TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(.)", re.S)


class Screen:
    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.cells = [[] for _ in range(rows)]  # rows of (character, style)
        self.row = self.column = 0
        self.style = ""

    def feed(self, text):
        for parameter, command, character in TOKEN.findall(text):
            if command:
                self.control(parameter, command)
            else:
                self.put(character)

    def control(self, parameter, command):
        if command == "A":
            self.row = max(0, self.row - int(parameter or 1))
        elif command == "J":
            del self.cells[self.row][self.column:]
            for row in range(self.row + 1, self.rows):
                self.cells[row] = []
        elif command == "K":
            del self.cells[self.row][self.column:]
        elif command == "H":
            self.row = self.column = 0
        elif command == "m":
            self.style = "" if parameter in ("", "0") else parameter
        elif command not in "hl":
            raise AssertionError("unknown control %r %r" % (parameter, command))

    def down(self):
        self.row += 1
        if self.row == self.rows:
            self.row -= 1
            self.cells = self.cells[1:] + [[]]

    def put(self, character):
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.down()
        else:
            width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
            if self.column + width > self.columns:
                self.column = 0
                self.down()
            line = self.cells[self.row]
            line.extend([(" ", "")] * (self.column - len(line)))
            line[self.column:self.column + width] = [(character, self.style)] + [("", "")] * (width - 1)
            self.column += width

    def text(self):
        return "\n".join("".join(c for c, _ in line).rstrip() for line in self.cells).rstrip()

    def styled(self, style):
        """What stands in that style, anywhere."""
        return "".join(c for line in self.cells for c, s in line if s == style)
