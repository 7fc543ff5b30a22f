"""Cameras, files, streams and test pictures as tracks. Each reads in one thread; the newest frame wins.

OpenCV is imported only by the modules that need it, never by `sfu_client` itself: a process that has
loaded PyAV may hang in OpenCV's windows (`cv2.imshow`), because both bring an FFmpeg of their own.
"""
