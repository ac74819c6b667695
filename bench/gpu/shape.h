// Shape: how many branches are measured, and the tokens of each.
#pragma once

#include "program.h"

struct Shape {
  // --n 256 --prompt 64 --length; `otherwise` is the length where none is given.
  Shape(Arguments& arguments, int otherwise)
      : n(arguments.integer("n", 256)),
        prompt(arguments.integer("prompt", 64)),
        length(arguments.integer("length", otherwise)) {}

  int n, prompt, length;

  int cells() const { return prompt + length + 1; }
};
