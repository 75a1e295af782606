if __name__ != "rmqd.protocol":  # a second copy of the same classes would be loaded from the checkout's root
    raise ImportError("import this package as rmqd.protocol")
