// A C++ library: objects with virtual functions, in a std::map by std::string, built by an initialiser and, before
// it, by the constructor of a global. Templates of libstdc++ that free (std::string growing) are in the library
// itself when it is linked with -static-libstdc++ -Wl,--exclude-libs,ALL: then they, too, leave frozen blocks alone.
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace {
struct Shape {
    std::string name;
    explicit Shape(std::string name) : name(std::move(name)) {}
    virtual ~Shape() = default;
    virtual double area() const = 0;
};
struct Square : Shape {
    double side;
    Square(std::string name, double side) : Shape(std::move(name)), side(side) {}
    double area() const override { return side * side; }
};
struct Disc : Shape {
    double radius;
    Disc(std::string name, double radius) : Shape(std::move(name)), radius(radius) {}
    double area() const override { return 3 * radius * radius; }
};

struct Registry {
    std::map<std::string, std::unique_ptr<Shape>> shapes;
    std::unordered_map<std::string, std::vector<const Shape *>> by_kind;
    std::function<double(const Shape &)> measure = [](const Shape &shape) { return shape.area(); };
    Registry() { add(std::make_unique<Square>("unit", 1), "square"); }
    void add(std::unique_ptr<Shape> shape, const char *kind) {
        by_kind[kind].push_back(shape.get());
        std::string name = shape->name;
        shapes[name] = std::move(shape);
    }
} registry;
}

extern "C" void *urf_init() {
    for (int i = 1; i <= 500; i++) {
        registry.add(std::make_unique<Square>("square number " + std::to_string(i), i), "square");
        registry.add(std::make_unique<Disc>("d" + std::to_string(i), i), "disc");
    }
    return &registry;
}

// Changes the world, so that blocks of the image are freed and grow, and says what it is like.
extern "C" void urf_use(char *into, size_t size) {
    registry.shapes.erase("d7");
    registry.shapes["unit"]->name += ", which is now a much longer name than it was";
    registry.add(std::make_unique<Disc>("new", 2), "ring");
    double sum = 0;
    for (const auto &[name, shape] : registry.shapes) sum += registry.measure(*shape) + shape->name.size();
    bool square = dynamic_cast<Square *>(registry.shapes["unit"].get()) != nullptr;
    snprintf(into, size, "%zu shapes, %zu kinds, %.1f, %d", registry.shapes.size(), registry.by_kind.size(), sum, square);
}
