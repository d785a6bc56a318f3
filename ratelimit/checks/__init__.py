"""What the nouns are made of, checked: values.py value by value; made.py and caller.py where a program makes them."""
