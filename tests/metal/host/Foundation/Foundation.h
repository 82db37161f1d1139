// Declarations of our own, as small as metal.mm needs: they stand in for Apple's headers where its syntax
// is checked without a Mac.

#pragma once

#include <stddef.h>
#include <stdint.h>

typedef unsigned long NSUInteger;
typedef signed char BOOL;
#define YES ((BOOL)1)
#define NO ((BOOL)0)
#define nil nullptr

__attribute__((objc_root_class)) @interface NSObject
+ (instancetype)alloc;
- (instancetype)init;
@end

@interface NSString : NSObject
+ (instancetype)stringWithUTF8String:(const char*)bytes;
@property(readonly) const char* UTF8String;
@end

@interface NSConstantString : NSString
@end

@interface NSError : NSObject
@property(readonly, copy) NSString* localizedDescription;
@end

extern "C" void NSLog(NSString* format, ...);
